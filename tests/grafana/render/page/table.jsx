// Tables, by Grafana's own component.
import { TableNG } from '@grafana/ui/unstable';

const bySort = (sortBy) => sortBy?.map(({ displayName, desc }) => ({ displayName, desc }));

// All rows are made, also those below the panel's edge, so that they can be read back.
export function Table({ panel, frames, range, width, height }) {
  const options = panel.options ?? {};
  return (
    <TableNG
      data={frames[options.frameIndex ?? 0]}
      width={width}
      height={height}
      timeRange={range}
      structureRev={1}
      noHeader={options.showHeader === false}
      cellHeight={options.cellHeight ?? 'sm'}
      initialSortBy={bySort(options.sortBy)}
      enablePagination={options.enablePagination ?? false}
      enableVirtualization={false}
      fieldConfig={panel.fieldConfig}
    />
  );
}
