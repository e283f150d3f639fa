// One dashboard over one Prometheus, drawn without a Grafana server; window.settings says which.
import { FieldType, createTheme, getFieldDisplayName, locationUtil } from '@grafana/data';
import { GlobalStyles, PanelChrome, ThemeContext } from '@grafana/ui';
import { Component } from 'react';
import { createRoot } from 'react-dom/client';
import { cut, ink, linesOf, linksOf, rowsOf, settled } from './inspect.js';
import { box, opened, overlapping } from './layout.js';
import { Drawing, isEmpty, known } from './panels.jsx';
import { framesOf, unread } from './pipeline.js';
import { asking, rangeOf } from './queries.js';
import { SOURCE, Variables } from './variables.js';

const HEADER = 46; // [pixels], and below it lines of variables and links
const CHIP = { line: 32, letter: 7, around: 26 };
const TIME_ZONE = 'utc';
const { settings } = window;
const { dashboard } = settings;
const theme = createTheme({ colors: { mode: settings.theme ?? 'dark' } });

const report = { problems: [], panels: [], annotations: [], links: [] };
const complain = (text) => report.problems.includes(text) || report.problems.push(text);
window.report = report;
window.settled = settled;

const variables = new Variables(settings, complain);
const ask = asking(settings.prometheus, complain);

class Fence extends Component {
  state = {};

  static getDerivedStateFromError(error) {
    return { error };
  }

  componentDidCatch(error) {
    complain(`panel ${this.props.title} cannot be drawn: ${error}`);
  }

  render() {
    return this.state.error ? String(this.state.error) : this.props.children;
  }
}

async function prepared(panel) {
  const place = box(panel.gridPos, settings.width);
  const title = variables.interpolate(panel.title);
  if (panel.type === 'row') return { panel, place, title };
  if (!known(panel)) complain(`panel ${title}: its type ${panel.type} is not known here`);
  if (panel.repeat) complain(`panel ${title}: repeated panels are not known here`);
  unread(panel).forEach(complain);
  const range = rangeOf(panel, settings);
  const needed = { range, variables, ask, source: SOURCE, theme, timeZone: TIME_ZONE };
  try {
    const given = await framesOf(panel, { ...needed, width: Math.round(place.width - 18) });
    return { panel, place, title, range, ...given };
  } catch (error) {
    complain(`panel ${title}: ${error.message}`);
    return { panel, place, title, range, frames: [], asked: [], failure: error.message };
  }
}

async function annotated() {
  const on = (dashboard.annotations?.list ?? []).filter(({ enable, expr }) => enable && expr);
  for (const { name, expr, step = '60s' } of on) {
    const { from, to } = settings;
    const parameters = { query: variables.inQuery(expr), start: from, end: to, step };
    try {
      const { result } = await ask('query_range', parameters);
      report.annotations.push({ name, series: result.length });
    } catch (error) {
      complain(`annotation ${name}: ${error.message}`);
    }
  }
}

function address({ url, includeVars, keepTime }) {
  const plain = variables.interpolate(url);
  const added = [includeVars && variables.parameters, keepTime && variables.time].filter(Boolean);
  return added.length ? `${plain}${plain.includes('?') ? '&' : '?'}${added.join('&')}` : plain;
}

// The links of a dashboard; one of the kind "dashboards" stands for all that have its tags.
function links() {
  return (dashboard.links ?? []).flatMap((link) => {
    if (link.type === 'link') return [{ title: variables.interpolate(link.title), to: address(link) }];
    const tagged = ({ uid, tags }) => uid !== dashboard.uid && link.tags.every((tag) => tags.includes(tag));
    const others = (settings.others ?? []).filter(tagged);
    if (!others.length) complain(`the link ${link.title} leads to no dashboard`);
    return others.map(({ uid, title }) => ({ title, to: address({ ...link, url: `/d/${uid}` }) }));
  });
}

function shownVariables() {
  return (dashboard.templating?.list ?? [])
    .filter(({ hide }) => hide !== 2 && hide !== 'hideVariable')
    .map(({ name, label }) => [label || name, variables.interpolate(`\${${name}:text}`)]);
}

function chips() {
  const chosen = shownVariables().map(([name, value]) => ({ text: `${name}: ${value}` }));
  return [...chosen, ...report.links.map(({ title, to }) => ({ text: title, to }))];
}

function headerHeight() {
  const wide = chips().reduce((sum, { text }) => sum + text.length * CHIP.letter + CHIP.around, 0);
  return HEADER + CHIP.line * Math.ceil(wide / (settings.width - 60));
}

function Header() {
  const quiet = { color: theme.colors.text.secondary, fontSize: 13 };
  const chip = { ...quiet, border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '2px 8px' };
  const when = [settings.from, settings.to].map((at) => new Date(at * 1000).toISOString().slice(0, 16).replace('T', ' '));
  return (
    <div style={{ padding: '10px 16px', height: report.top }}>
      <div style={{ display: 'flex', gap: 16, alignItems: 'baseline', marginBottom: 6 }}>
        <span style={{ fontSize: 18, fontWeight: 500 }}>{dashboard.title}</span>
        <span style={quiet}>{when.join(' to ')} UTC</span>
      </div>
      <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8 }}>
        {chips().map(({ text, to }) => to ? <a key={text} href={to} style={chip}>{text} ↗</a> : <span key={text} style={chip}>{text}</span>)}
      </div>
    </div>
  );
}

function Panel({ panel, place, title, range, frames, failure }) {
  const where = { position: 'absolute', ...place, top: place.top + report.top };
  if (panel.type === 'row') {
    return <div style={{ ...where, fontSize: 16, fontWeight: 500, paddingTop: 4 }}>▾ {title}</div>;
  }
  const given = { panel, frames, range, variables, timeZone: TIME_ZONE };
  const description = panel.description && variables.interpolate(panel.description);
  return (
    <div style={where} data-panel={panel.id}>
      <PanelChrome title={title} description={description} width={place.width} height={place.height} statusMessage={failure}>
        {(width, height) => (
          <div data-drawing="" style={{ width, height }}>
            <Fence title={title}>
              {known(panel) && !failure && <Drawing {...given} width={width} height={height} />}
            </Fence>
          </div>
        )}
      </PanelChrome>
    </div>
  );
}

function seriesOf(frames) {
  return frames.flatMap((frame) =>
    frame.fields
      .filter(({ type }) => type !== FieldType.time)
      .map((field) => ({
        name: getFieldDisplayName(field, frame, frames),
        points: field.values.filter((v) => v !== null && v !== undefined && !Number.isNaN(v)).length,
        last: field.values.at(-1) ?? null,
      })),
  );
}

// Where the values of fields lead; a table shows several links of one cell only on a click.
function fieldLinks(frames) {
  return frames.flatMap(({ fields }) =>
    fields.filter(({ config }) => config.links?.length).flatMap((field) =>
      field.values.flatMap((_, valueRowIndex) =>
        field.getLinks({ valueRowIndex }).map(({ title, href }) => ({ text: title, to: href })),
      ),
    ),
  );
}

// What a drawn panel shows, as its reader sees it.
function told({ panel, title, frames, asked, failure }) {
  const element = document.querySelector(`[data-panel="${panel.id}"]`);
  const drawing = element.querySelector('[data-drawing]') ?? element;
  return {
    id: panel.id,
    title,
    type: panel.type,
    asked,
    failure,
    empty: isEmpty(frames),
    series: seriesOf(frames),
    lines: linesOf(drawing),
    rows: rowsOf(drawing),
    links: panel.type === 'table' ? fieldLinks(frames) : linksOf(drawing),
    ink: ink(drawing),
    cut: cut(element),
  };
}

const root = createRoot(document.getElementById('root'));

function show(content) {
  root.render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {content}
    </ThemeContext.Provider>,
  );
  return settled();
}

// Bars measure their names when they are drawn, so the letters must be there before: first come
// the styles that name them.
async function letters() {
  await show(null);
  await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 14px Inter`)));
}

async function draw() {
  await letters();
  await variables.resolve(dashboard, ask);
  const panels = opened(dashboard);
  overlapping(panels).forEach(complain);
  const all = [];
  for (const panel of panels) all.push(await prepared(panel));
  await annotated();
  report.links = links();
  report.variables = Object.fromEntries([...variables.values].map(([name, { list, all: every }]) => [name, { options: variables.options[name], list, all: every }]));
  report.top = headerHeight();
  report.height = report.top + Math.max(...all.map(({ place }) => place.top + place.height)) + 8;
  window.told = () => ({ ...report, panels: all.filter(({ panel }) => panel.type !== 'row').map(told) });
  const page = { position: 'relative', minHeight: report.height, background: theme.colors.background.canvas, color: theme.colors.text.primary, fontFamily: theme.typography.fontFamily };
  await show(
    <div style={page}>
      <Header />
      {all.map((one) => <Panel key={one.panel.id ?? one.title} {...one} />)}
    </div>,
  );
}

locationUtil.initialize({
  config: { appSubUrl: '' },
  getVariablesUrlParams: () => ({}),
  getTimeRangeForUrl: () => ({ from: settings.from * 1000, to: settings.to * 1000 }),
});
draw()
  .catch((error) => {
    complain(`the dashboard cannot be drawn: ${error.stack}`);
    window.told ??= () => report;
    report.height ??= 100;
  })
  .finally(() => (report.drawn = true));
