// The drawings of panels, by Grafana's own components as far as they are in its packages.
import { FieldType, getDisplayValueAlignmentFactors, getFieldDisplayValues, renderTextPanelMarkdown } from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, VizRepeater, useTheme2 } from '@grafana/ui';
import { fieldConfig } from './pipeline.js';
import { Dial, Heatmap, StateTimeline } from './stand_ins.jsx';
import { Table } from './table.jsx';

const LAST = { calcs: ['lastNotNull'], values: false };

function useValues({ panel, frames, variables, timeZone }) {
  const theme = useTheme2();
  const { reduceOptions = LAST, graphMode } = panel.options ?? {};
  return getFieldDisplayValues({
    fieldConfig: fieldConfig(panel),
    reduceOptions,
    replaceVariables: (text, scoped) => variables.interpolate(text, scoped),
    theme,
    data: frames,
    sparkline: graphMode === 'area',
    timeZone,
  });
}

// A value leads where its link does, as a click on it would.
function Linked({ value, children }) {
  const link = value.hasLinks ? value.getLinks?.({})[0] : undefined;
  return link ? <a href={link.href} title={link.title}>{children}</a> : children;
}

function Repeated({ props, orientation, spacing, draw, ...limits }) {
  const values = useValues(props);
  const { width, height, frames } = props;
  return (
    <VizRepeater
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      source={frames}
      renderCounter={0}
      width={width}
      height={height}
      orientation={orientation ?? 'auto'}
      itemSpacing={spacing}
      autoGrid
      renderValue={(one) => <Linked value={one.value}>{draw(one, values)}</Linked>}
      {...limits}
    />
  );
}

function Stat(props) {
  const theme = useTheme2();
  const options = props.panel.options ?? {};
  const draw = ({ value, width, height, alignmentFactors, count }) => (
    <BigValue
      value={value.display}
      count={count}
      sparkline={value.sparkline}
      colorMode={options.colorMode ?? 'value'}
      graphMode={options.graphMode ?? 'area'}
      justifyMode={options.justifyMode ?? 'auto'}
      textMode={options.textMode ?? 'auto'}
      alignmentFactors={alignmentFactors}
      text={options.text}
      width={width}
      height={height}
      theme={theme}
      wideLayout={options.wideLayout ?? true}
    />
  );
  return <Repeated props={props} orientation={options.orientation} spacing={3} draw={draw} />;
}

function Gauge(props) {
  const draw = (one) => <Dial {...one} />;
  return <Repeated props={props} orientation={props.panel.options?.orientation} spacing={8} draw={draw} />;
}

function Bars(props) {
  const theme = useTheme2();
  const options = props.panel.options ?? {};
  const draw = ({ value, width, height, orientation, alignmentFactors }) => (
    <BarGauge
      value={value.display}
      field={value.field}
      display={value.view?.getFieldDisplayProcessor?.(value.colIndex)}
      text={options.text}
      width={width}
      height={height}
      orientation={orientation}
      theme={theme}
      itemSpacing={8}
      lcdCellWidth={12}
      displayMode={options.displayMode ?? 'gradient'}
      valueDisplayMode={options.valueMode ?? 'color'}
      namePlacement={options.namePlacement ?? 'auto'}
      showUnfilled={options.showUnfilled ?? true}
      alignmentFactors={alignmentFactors}
    />
  );
  const own = options.sizing === 'manual' ? options : {};
  const limits = { minVizHeight: own.minVizHeight ?? 16, maxVizHeight: own.maxVizHeight ?? 300 };
  return (
    <Repeated props={props} orientation={options.orientation ?? 'horizontal'} spacing={10} draw={draw} {...limits} />
  );
}

const LEGEND = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] };

function Lines({ panel, frames, range, width, height, timeZone }) {
  const options = { tooltip: { mode: 'single', sort: 'none' }, ...panel.options };
  return (
    <TimeSeries
      frames={frames.filter(({ fields }) => fields.some(({ type }) => type === FieldType.number))}
      structureRev={1}
      timeRange={range}
      timeZone={[timeZone]}
      width={width}
      height={height}
      legend={{ ...LEGEND, ...options.legend }}
      options={options}
    />
  );
}

function Text({ panel, variables }) {
  const html = renderTextPanelMarkdown(variables.interpolate(panel.options?.content));
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}

const DRAWINGS = {
  bargauge: Bars,
  gauge: Gauge,
  heatmap: Heatmap,
  stat: Stat,
  'state-timeline': StateTimeline,
  table: Table,
  text: Text,
  timeseries: Lines,
};
// These show a missing value as a value of theirs, with the same words.
const SHOW_NOTHING = new Set(['bargauge', 'gauge', 'stat', 'text']);

export const known = (panel) => panel.type in DRAWINGS;

export const isEmpty = (frames) => frames.every(({ length }) => !length);

export function nothing(panel) {
  return panel.fieldConfig?.defaults?.noValue || 'No data';
}

export function Drawing(props) {
  const theme = useTheme2();
  const { panel, frames } = props;
  if (isEmpty(frames) && !SHOW_NOTHING.has(panel.type)) {
    const centre = { display: 'flex', alignItems: 'center', justifyContent: 'center', height: '100%' };
    return <div style={{ ...centre, color: theme.colors.text.secondary }}>{nothing(panel)}</div>;
  }
  const Chosen = DRAWINGS[panel.type];
  return <Chosen {...props} />;
}
