// Where panels stand: Grafana's grid, with all rows open.
const COLUMNS = 24;
const CELL = 30;
const GAP = 8;

function pushedDown(panels, rows) {
  return panels.map((panel) => ({
    ...panel,
    gridPos: { ...panel.gridPos, y: panel.gridPos.y + rows },
  }));
}

// A closed row holds its panels as if it were open and the only one: those below move down.
export function opened(dashboard) {
  const found = [];
  let added = 0;
  const ordered = [...dashboard.panels].sort(
    (a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x,
  );
  for (const panel of ordered) {
    found.push(...pushedDown([panel], added));
    const inside = panel.panels ?? [];
    if (!inside.length) continue;
    const top = Math.min(...inside.map(({ gridPos }) => gridPos.y));
    found.push(...pushedDown(inside, panel.gridPos.y + 1 - top + added));
    added += Math.max(...inside.map(({ gridPos }) => gridPos.y + gridPos.h)) - top;
  }
  return found;
}

export function box({ x, y, w, h }, width) {
  const column = (width - 2 * GAP + GAP) / COLUMNS;
  return {
    left: GAP + x * column,
    top: y * (CELL + GAP),
    width: w * column - GAP,
    height: h * (CELL + GAP) - GAP,
  };
}

export function overlapping(panels) {
  const apart = (a, b) =>
    a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
  return panels.flatMap((one, index) =>
    panels
      .slice(index + 1)
      .filter((other) => !apart(one.gridPos, other.gridPos))
      .map((other) => `panels ${one.title} and ${other.title} overlap`),
  );
}
