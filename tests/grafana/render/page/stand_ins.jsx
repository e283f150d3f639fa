// Panels whose drawings are not among Grafana's packages: its values, names and colours, our lines.
import { FieldType, formattedValueToString, getFieldDisplayName, getValueFormat } from '@grafana/data';
import { useTheme2 } from '@grafana/ui';
import * as schemes from 'd3-scale-chromatic';
import { useEffect, useRef } from 'react';

const FONT = 12;
const AXIS = 22;

const numbers = (frame) => frame.fields.filter(({ type }) => type === FieldType.number);
const times = (frame) => frame.fields.find(({ type }) => type === FieldType.time);

function widest(texts, theme) {
  const pen = document.createElement('canvas').getContext('2d');
  pen.font = `${FONT}px ${theme.typography.fontFamily}`;
  return Math.ceil(Math.max(0, ...texts.map((text) => pen.measureText(text).width)));
}

function clock(at, span) {
  const text = new Date(at).toISOString();
  return span > 2 * 86_400_000 ? text.slice(5, 10) : text.slice(11, 16);
}

function Times({ range, left, width, top }) {
  const theme = useTheme2();
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const count = Math.max(1, Math.min(8, Math.floor(width / 90)));
  return Array.from({ length: count + 1 }, (_, place) => {
    const at = from + ((to - from) * place) / count;
    const anchor = place === 0 ? 'start' : place === count ? 'end' : 'middle';
    return (
      <text key={place} x={left + (width * place) / count} y={top + 16} fontSize={FONT}
        textAnchor={anchor} fill={theme.colors.text.primary}>
        {clock(at, to - from)}
      </text>
    );
  });
}

// Runs of equal states; a gap in time ends a run.
function runs(frame, field, merged) {
  const at = times(frame);
  const longest = 1.5 * (at.config.interval ?? Infinity);
  const found = [];
  field.values.forEach((value, place) => {
    if (value === null || value === undefined) return;
    const [start, last] = [at.values[place], found.at(-1)];
    const shown = field.display(value);
    const near = last && start - last.seen <= longest;
    if (near) last.end = start;
    if (near && merged && last.shown.text === shown.text) last.seen = start;
    else found.push({ start, seen: start, end: start + (at.config.interval ?? 0), shown });
  });
  found.forEach((run) => (run.end = Math.max(run.end, run.seen)));
  return found;
}

function Legend({ lines }) {
  const theme = useTheme2();
  const seen = new Map(lines.flatMap((line) => line.runs.map(({ shown }) => [shown.text, shown.color])));
  return (
    <div style={{ display: 'flex', gap: 12, fontSize: FONT, paddingLeft: 8 }}>
      {[...seen].map(([text, color]) => (
        <span key={text} style={{ color: theme.colors.text.primary }}>
          <span style={{ display: 'inline-block', width: 14, height: 4, marginRight: 6, background: color }} />
          {text}
        </span>
      ))}
    </div>
  );
}

export function StateTimeline({ panel, frames, range, width, height }) {
  const theme = useTheme2();
  const options = panel.options ?? {};
  const all = frames.flatMap((frame) =>
    numbers(frame).map((field) => ({
      name: getFieldDisplayName(field, frame, frames),
      runs: runs(frame, field, options.mergeValues ?? true),
    })),
  );
  const lines = options.perPage ? all.slice(0, options.perPage) : all;
  const left = widest(lines.map(({ name }) => name), theme) + 12;
  const legend = options.legend?.showLegend === false ? 0 : 24;
  const [inner, tall] = [width - left - 8, (height - AXIS - legend) / Math.max(1, lines.length)];
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const x = (at) => left + (inner * (Math.min(Math.max(at, from), to) - from)) / (to - from);
  const thick = tall * (options.rowHeight ?? 0.9);
  return (
    <>
      <svg width={width} height={height - legend} data-lines={JSON.stringify(all.map(({ name }) => name))}>
        {lines.map((line, row) => (
          <g key={line.name}>
            <text x={left - 8} y={tall * (row + 0.5) + 4} fontSize={FONT} textAnchor="end"
              fill={theme.colors.text.primary}>{line.name}</text>
            {line.runs.map(({ start, end, shown }) => (
              <rect key={start} x={x(start)} width={Math.max(1, x(end) - x(start))} data-ink={1}
                y={tall * row + (tall - thick) / 2} height={thick} fill={shown.color}
                fillOpacity={(panel.fieldConfig?.defaults?.custom?.fillOpacity ?? 70) / 100} />
            ))}
          </g>
        ))}
        <Times range={range} left={left} width={inner} top={height - AXIS - legend} />
      </svg>
      {legend > 0 && <Legend lines={lines} />}
    </>
  );
}

function edge(name, unit) {
  const number = Number(name.replace('+Inf', 'Infinity'));
  if (Number.isNaN(number)) return name;
  return number === Infinity ? '+Inf' : formattedValueToString(getValueFormat(unit)(number));
}

// The rows with something in them, and one more at each end.
function used(fields, least) {
  const full = fields.map((field) => field.values.some((value) => value > least));
  const [first, last] = [full.indexOf(true), full.lastIndexOf(true)];
  return first < 0 ? [0, fields.length - 1] : [Math.max(0, first - 1), Math.min(fields.length - 1, last + 1)];
}

// Which schemes begin at their other end, so that little is near the background.
const BOTH = /^(BrBG|PiYG|PRGn|PuOr|Rd(Bu|Gy|YlBu|YlGn)|Spectral|Rainbow|Sinebow)$/;
const GLOWING = /^(Turbo|Cividis|Viridis|Magma|Inferno|Plasma|Warm|Cool|CubehelixDefault)$/;
const INVERTED = {
  dark: (scheme) => BOTH.test(scheme) || !GLOWING.test(scheme),
  light: (scheme) => BOTH.test(scheme) || GLOWING.test(scheme),
};

function paint(canvas, { frame, panel, range, left, theme }) {
  const { color = {}, filterValues } = panel.options ?? {};
  const least = filterValues?.le ?? 0;
  const [low, high] = used(numbers(frame), least);
  const fields = numbers(frame).slice(low, high + 1);
  const most = Math.max(...fields.flatMap((field) => field.values.filter((value) => value > least)));
  const scheme = schemes[`interpolate${color.scheme ?? 'Oranges'}`];
  const turned = color.reverse || INVERTED[theme.isDark ? 'dark' : 'light'](color.scheme ?? 'Oranges');
  const shade = (share) => scheme(turned ? 1 - share : share);
  const pen = canvas.getContext('2d');
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const at = times(frame);
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const x = (time) => left + ((canvas.width - left - 8) * (time - from)) / (to - from);
  const tall = (canvas.height - AXIS) / fields.length;
  fields.forEach((field, row) =>
    field.values.forEach((value, place) => {
      if (!(value > least)) return;
      pen.fillStyle = shade((value / most) ** (color.exponent ?? 0.5));
      const [start, end] = [x(at.values[place] - at.config.interval), x(at.values[place])];
      const top = canvas.height - AXIS - tall * (row + 1);
      pen.fillRect(Math.max(left, start), top, Math.max(1, end - Math.max(left, start) - 1), Math.max(1, tall - 1));
    }),
  );
}

export function Heatmap({ panel, frames, range, width, height }) {
  const theme = useTheme2();
  const canvas = useRef();
  const [frame] = frames;
  const unit = panel.options?.yAxis?.unit ?? 'short';
  const [low, high] = used(numbers(frame), panel.options?.filterValues?.le ?? 0);
  const edges = numbers(frame).slice(low, high + 1).map(({ name }) => edge(name, unit));
  const left = widest(edges, theme) + 14;
  const tall = (height - AXIS) / edges.length;
  const every = Math.ceil(18 / tall);
  useEffect(() => paint(canvas.current, { frame, panel, range, left, theme }));
  return (
    <div style={{ position: 'relative', width, height }}>
      <canvas ref={canvas} width={width} height={height} style={{ position: 'absolute' }} />
      <svg width={width} height={height} style={{ position: 'absolute' }}>
        {edges.map((text, row) => row % every === 0 && (
          <text key={text} x={left - 8} y={Math.max(10, height - AXIS - tall * (row + 1) + 4)} fontSize={FONT}
            textAnchor="end" fill={theme.colors.text.primary}>{text}</text>
        ))}
        <Times range={range} left={left} width={width - left - 8} top={height - AXIS} />
      </svg>
    </div>
  );
}

const [START, TURN] = [Math.PI * 0.88, Math.PI * 1.24]; // where the arc of a gauge begins, and its length

function Arc({ from, to, radius, width, color, x, y }) {
  const at = (share) => {
    const angle = START + TURN * share;
    return `${x + radius * Math.cos(angle)} ${y + radius * Math.sin(angle)}`;
  };
  const large = (to - from) * TURN > Math.PI ? 1 : 0;
  const path = `M ${at(from)} A ${radius} ${radius} 0 ${large} 1 ${at(to)}`;
  return <path d={path} stroke={color} strokeWidth={width} fill="none" data-ink={1} />;
}

export function Dial({ value, width, height }) {
  const theme = useTheme2();
  const { min = 0, max = 100, thresholds } = value.field;
  const share = (number) => Math.max(0, Math.min(1, (number - min) / (max - min)));
  const [x, y] = [width / 2, height * 0.6];
  const radius = Math.max(20, Math.min(width / 2, y) - 14);
  const steps = thresholds?.steps ?? [];
  const shown = share(value.display.numeric);
  return (
    <svg width={width} height={height}>
      <Arc from={0} to={1} radius={radius - 11} width={18} color={theme.colors.background.secondary} x={x} y={y} />
      {shown > 0 && <Arc from={0} to={shown} radius={radius - 11} width={18} color={value.display.color} x={x} y={y} />}
      {steps.map(({ value: from, color }, place) => (
        <Arc key={color} from={share(from)} to={share(steps[place + 1]?.value ?? max)} radius={radius + 3} width={4}
          color={theme.visualization.getColorByName(color)} x={x} y={y} />
      ))}
      <text x={x} y={y + 6} textAnchor="middle" fontSize={Math.min(radius * 0.5, width / 6)} fontWeight="500"
        fill={value.display.color}>{formattedValueToString(value.display)}</text>
    </svg>
  );
}
