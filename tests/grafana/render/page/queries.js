// Queries of panels: what they ask of Prometheus, and the frames that its answers become.
import { FieldType, dateTime, rangeUtil, toDataFrame } from '@grafana/data';

export const SCRAPE = '15s'; // the data source's own setting, which is Grafana's default too

const NUMBERS = { '+Inf': Infinity, '-Inf': -Infinity, NaN };
const number = (text) => NUMBERS[text] ?? Number(text);

export function asking(base, complain) {
  return async (path, parameters) => {
    const answer = await fetch(`${base}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const said = await answer.json();
    if (said.status !== 'success') throw new Error(`${said.errorType}: ${said.error}`);
    [...(said.warnings ?? []), ...(said.infos ?? [])].forEach((text) =>
      complain(`Prometheus warns of ${parameters.query}: ${text}`),
    );
    return said.data;
  };
}

// The time that a panel shows, which may differ from the dashboard's.
export function rangeOf(panel, { from, to }) {
  const start = panel.timeFrom ? to - rangeUtil.intervalToSeconds(panel.timeFrom) : from;
  const raw = { from: dateTime(start * 1000), to: dateTime(to * 1000) };
  return { ...raw, raw };
}

// How far apart the points are, and what follows from it for the window of rates.
function steps(panel, target, range, width, variables) {
  const lowest = variables.interpolate(panel.interval || SCRAPE);
  const { intervalMs } = rangeUtil.calculateInterval(range, panel.maxDataPoints ?? width, lowest);
  const own = target.interval && variables.interpolate(target.interval);
  const step = Math.max(intervalMs, own ? rangeUtil.intervalToMs(own) : 0) / 1000;
  const scrape = rangeUtil.intervalToSeconds(own || SCRAPE);
  return { step, window: Math.max(step + scrape, 4 * scrape) };
}

function builtins(step, window, range) {
  const span = (range.to.valueOf() - range.from.valueOf()) / 1000;
  return {
    __interval: `${Math.round(step)}s`,
    __interval_ms: step * 1000,
    __rate_interval: `${Math.round(window)}s`,
    __range: `${Math.round(span)}s`,
    __range_s: Math.round(span),
    __range_ms: Math.round(span * 1000),
  };
}

function legend(format, metric) {
  if (format && format !== '__auto') {
    return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '');
  }
  const { __name__: name, ...labels } = metric;
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return pairs.length ? `${name ?? ''}{${pairs.join(', ')}}` : (name ?? 'Value');
}

function frame(target, series, kind, step) {
  const points = series.values ?? [series.value];
  const name = legend(target.legendFormat, series.metric);
  return toDataFrame({
    refId: target.refId,
    name,
    meta: { custom: { resultType: kind } },
    fields: [
      {
        name: 'Time',
        type: FieldType.time,
        values: points.map(([at]) => at * 1000),
        config: { interval: step * 1000 },
      },
      {
        name: 'Value',
        type: FieldType.number,
        labels: series.metric,
        values: points.map(([, value]) => number(value)),
        config: { displayNameFromDS: name },
      },
    ],
  });
}

// Ask one query. Returns the frames and the target as it was asked.
export async function run(panel, target, range, width, variables, ask) {
  const { step, window } = steps(panel, target, range, width, variables);
  const expr = variables.inQuery(target.expr, builtins(step, window, range));
  const [from, to] = [range.from.valueOf() / 1000, range.to.valueOf() / 1000];
  const down = (time) => Math.floor(time / step) * step;
  const data = target.instant
    ? await ask('query', { query: expr, time: to })
    : await ask('query_range', { query: expr, start: down(from), end: down(to), step });
  const frames = data.result.map((series) => frame(target, series, data.resultType, step));
  return { frames, target: { ...target, expr }, asked: { refId: target.refId, expr, step } };
}
