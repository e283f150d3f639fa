// From a panel's queries to the frames that it draws, by Grafana's own functions.
import {
  FieldConfigOptionsRegistry,
  applyFieldOverrides,
  booleanOverrideProcessor,
  cacheFieldDisplayNames,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  toDataFrame,
  transformDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { transformV2 } from '@grafana/prometheus/result_transformer';
import { firstValueFrom } from 'rxjs';
import { run } from './queries.js';

const STANDARD = {
  unit: unitOverrideProcessor,
  decimals: numberOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  fieldMinMax: booleanOverrideProcessor,
  displayName: displayNameOverrideProcessor,
  noValue: stringOverrideProcessor,
  description: stringOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  color: identityOverrideProcessor,
  links: dataLinksOverrideProcessor,
  actions: identityOverrideProcessor,
  filterable: booleanOverrideProcessor,
};
const HIDING = { hideFrom: { viz: false, legend: false, tooltip: false } };

// The plugins of the panels are not among Grafana's packages; these are their settings of
// fields, with the values that hold where a dashboard says nothing.
const CUSTOM = {
  timeseries: {
    drawStyle: 'line',
    lineInterpolation: 'linear',
    lineWidth: 1,
    lineStyle: undefined,
    fillOpacity: 0,
    gradientMode: 'none',
    fillBelowTo: undefined,
    spanNulls: false,
    insertNulls: false,
    showPoints: 'auto',
    showValues: false,
    pointSize: 5,
    stacking: { mode: 'none', group: 'A' },
    barAlignment: 0,
    barMaxWidth: 200,
    barWidthFactor: 0.6,
    axisPlacement: 'auto',
    axisLabel: '',
    axisColorMode: 'text',
    axisBorderShow: false,
    axisCenteredZero: false,
    axisGridShow: undefined,
    axisSoftMin: undefined,
    axisSoftMax: undefined,
    axisWidth: undefined,
    scaleDistribution: { type: 'linear' },
    thresholdsStyle: { mode: 'off' },
    transform: undefined,
    ...HIDING,
  },
  table: {
    align: 'auto',
    cellOptions: { type: 'auto' },
    inspect: false,
    hidden: false,
    hideFrom: HIDING.hideFrom,
    width: undefined,
    minWidth: 150,
    wrapText: false,
    wrapHeaderText: false,
    filterable: undefined,
    tooltip: undefined,
    footer: { reducers: [] },
  },
  'state-timeline': { lineWidth: 0, fillOpacity: 70, spanNulls: false, insertNulls: false, ...HIDING },
  heatmap: { scaleDistribution: { type: 'linear' }, ...HIDING },
  stat: {},
  gauge: { neutral: undefined },
  bargauge: {},
};
const COLORS = { timeseries: 'palette-classic', 'state-timeline': 'continuous-GrYlRd' };
const STEPS = [
  { value: null, color: 'green' },
  { value: 80, color: 'red' },
];

standardTransformersRegistry.setInit(() => {
  const one = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
  return [...one.values()].map((each) => ({ id: each.id, name: each.name, transformation: each }));
});

function registry(type) {
  const found = new FieldConfigOptionsRegistry();
  const rest = { shouldApply: () => true, override: () => null, editor: () => null };
  for (const [id, process] of Object.entries(STANDARD)) {
    found.register({ id, path: id, name: id, process, ...rest });
  }
  for (const name of Object.keys(CUSTOM[type] ?? {})) {
    const process = identityOverrideProcessor;
    found.register({ id: `custom.${name}`, path: name, name, isCustom: true, process, ...rest });
  }
  return found;
}

// JSON has no infinity: the first step of thresholds is written as null.
const endless = (steps) =>
  steps.map((step, place) => (place === 0 ? { ...step, value: -Infinity } : step));

function withSteps(setting) {
  if (setting.id !== 'thresholds') return setting;
  return { ...setting, value: { ...setting.value, steps: endless(setting.value.steps) } };
}

// A panel's settings of fields, completed as its plugin completes them.
export function fieldConfig(panel) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const thresholds = defaults.thresholds ?? { mode: 'absolute', steps: STEPS };
  return {
    defaults: {
      color: { mode: COLORS[panel.type] ?? 'thresholds' },
      mappings: [],
      ...defaults,
      thresholds: { ...thresholds, steps: endless(thresholds.steps) },
      custom: { ...CUSTOM[panel.type], ...defaults.custom },
    },
    overrides: overrides.map((each) => ({ ...each, properties: each.properties.map(withSteps) })),
  };
}

// What a dashboard sets and no plugin reads: Grafana passes over it in silence.
export function unread(panel) {
  const known = registry(panel.type);
  const custom = Object.keys(panel.fieldConfig?.defaults?.custom ?? {}).map((n) => `custom.${n}`);
  const plain = Object.keys(panel.fieldConfig?.defaults ?? {}).filter((name) => name !== 'custom');
  const set = (panel.fieldConfig?.overrides ?? []).flatMap((each) =>
    each.properties.map(({ id }) => id),
  );
  const all = [...plain, ...custom, ...set].filter((id) => !known.getIfExists(id));
  return [...new Set(all)].map((id) => `panel ${panel.title}: no field has a setting ${id}`);
}

function sourceOf(panel, target, variables) {
  return variables.interpolate(target.datasource?.uid ?? panel.datasource?.uid ?? '');
}

async function asked(panel, range, width, variables, ask, source) {
  const answers = [];
  for (const target of (panel.targets ?? []).filter(({ hide }) => !hide)) {
    const uid = sourceOf(panel, target, variables);
    if (uid !== source) throw new Error(`there is no data source ${uid}`);
    answers.push(await run(panel, target, range, width, variables, ask));
  }
  return answers;
}

// Returns the frames to draw, and what was asked for them.
export async function framesOf(panel, { range, width, variables, ask, source, theme, timeZone }) {
  const answers = await asked(panel, range, width, variables, ask, source);
  const response = { data: answers.flatMap(({ frames }) => frames) };
  const request = { targets: answers.map(({ target }) => target), app: 'panel-viewer' };
  let data = transformV2(response, request, {}).data.map((each) => toDataFrame(each));
  const replace = (text, scoped) => variables.interpolate(text, scoped);
  if (panel.transformations?.length) {
    const context = { interpolate: replace };
    data = await firstValueFrom(transformDataFrame(panel.transformations, data, context));
  }
  const frames = applyFieldOverrides({
    data,
    fieldConfig: fieldConfig(panel),
    fieldConfigRegistry: registry(panel.type),
    replaceVariables: replace,
    theme,
    timeZone,
  });
  cacheFieldDisplayNames(frames);
  return { frames, asked: answers.map(({ asked: query }) => query) };
}
