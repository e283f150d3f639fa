// Variables of a dashboard: what they are worth, and how texts name them.
import {
  formattedValueToString,
  getFieldDisplayName,
  getFieldDisplayValuesProxy,
  getFrameDisplayName,
} from '@grafana/data';
import { property } from 'lodash';

export const ALL = '$__all';
export const SOURCE = 'prometheus'; // what the variable of the data source is worth here

const NAMED = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}/g;
const LABEL_VALUES = /^label_values\((?:(.+),\s*)?([a-zA-Z_]\w*)\)$/;
const QUERY_RESULT = /^query_result\((.+)\)$/;
const SPECIAL = /[\\^$*+?.()|[\]{}]/g;

const escaped = (text) => text.replace(SPECIAL, '\\$&');
const grouped = (list) => (list.length > 1 ? `(${list.join('|')})` : (list[0] ?? ''));

const FORMATS = {
  raw: (list) => list.join(','),
  csv: (list) => list.join(','),
  pipe: (list) => list.join('|'),
  text: (list) => list.join(' + '),
  json: (list) => JSON.stringify(list.length > 1 ? list : list[0]),
  regex: (list) => grouped(list.map(escaped)),
  glob: (list) => (list.length > 1 ? `{${list.join(',')}}` : (list[0] ?? '')),
  percentencode: (list) => encodeURIComponent(FORMATS.glob(list)),
};

// How the data source for Prometheus writes values into a query: only variables that can hold
// several values are taken for patterns, so only theirs are escaped as such.
function inQuery(list, variable) {
  if (!variable || !(variable.multi || variable.includeAll)) {
    return list.map((value) => value.replace(/\\/g, '\\\\').replace(/"/g, '\\"')).join(',');
  }
  return grouped(list.map((value) => escaped(value).replace(/\\/g, '\\\\')));
}

export class Variables {
  constructor(settings, complain) {
    this.settings = settings;
    this.complain = complain;
    this.values = new Map(); // name -> { list, all, variable }
    this.options = {};
  }

  async resolve(dashboard, ask) {
    for (const variable of dashboard.templating?.list ?? []) {
      const options = await this.#optionsOf(variable, ask);
      this.options[variable.name] = options;
      this.values.set(variable.name, this.#choose(variable, options));
    }
  }

  async #optionsOf(variable, ask) {
    switch (variable.type) {
      case 'datasource':
        return [SOURCE];
      case 'query':
        return this.#asked(variable, ask);
      case 'textbox':
      case 'constant':
        return [String(variable.current?.value ?? variable.query ?? '')];
      case 'custom':
      case 'interval':
        return String(variable.query).split(',').map((part) => part.trim());
      default:
        this.complain(`variable ${variable.name}: its type ${variable.type} is not known here`);
        return [];
    }
  }

  async #asked(variable, ask) {
    const query = this.inQuery(variable.query?.query ?? variable.query);
    const { from, to } = this.settings;
    let found = [];
    const labels = query.match(LABEL_VALUES);
    const result = query.match(QUERY_RESULT);
    if (labels) {
      const which = labels[1] ? { 'match[]': labels[1] } : {};
      found = await ask(`label/${labels[2]}/values`, { ...which, start: from, end: to });
    } else if (result) {
      const { result: series } = await ask('query', { query: result[1], time: to });
      found = series.map(({ metric, value }) => `${JSON.stringify(metric)} ${value[1]}`);
    } else {
      this.complain(`variable ${variable.name}: its query ${query} is not known here`);
    }
    return this.#sorted(variable, this.#filtered(variable, found));
  }

  #filtered(variable, found) {
    if (!variable.regex) return found;
    const [, body, flags] = variable.regex.match(/^\/(.*)\/(\w*)$/) ?? [null, variable.regex, ''];
    const matches = found.map((option) => option.match(new RegExp(body, flags))).filter(Boolean);
    return [...new Set(matches.map((match) => match[1] ?? match[0]))];
  }

  #sorted(variable, found) {
    const downwards = [2, 4, 6, 8].includes(variable.sort) ? -1 : 1;
    const numeric = [3, 4, 7, 8].includes(variable.sort);
    const compare = numeric
      ? (a, b) => parseFloat(a) - parseFloat(b) || a.localeCompare(b, 'en', { numeric: true })
      : (a, b) => a.localeCompare(b, 'en');
    return variable.sort ? [...found].sort((a, b) => downwards * compare(a, b)) : found;
  }

  #choose(variable, options) {
    const wanted = this.settings.variables?.[variable.name] ?? variable.current?.value;
    const list = [wanted ?? []].flat().filter((value) => value !== '');
    if (variable.includeAll && (list.includes(ALL) || list.length === 0)) {
      return { list: options, all: true, variable };
    }
    const free = ['textbox', 'constant', 'datasource'].includes(variable.type);
    const known = free ? list : list.filter((value) => options.includes(value));
    if (this.settings.variables?.[variable.name] && known.length < list.length) {
      this.complain(`variable ${variable.name}: ${list} is none of ${options}`);
    }
    return { list: known.length ? known : options.slice(0, 1), all: false, variable };
  }

  // The text with every variable replaced as the data source replaces them.
  inQuery(text, scoped = {}) {
    return this.interpolate(text, scoped, inQuery);
  }

  interpolate(text, scoped = {}, format = FORMATS.glob) {
    return String(text ?? '').replace(NAMED, (match, plain, old, oldFormat, braced, path, as) => {
      const name = plain ?? old ?? braced;
      const wanted = as ?? oldFormat;
      if (/^\d/.test(name)) return match; // a group of a regular expression
      if (name in scoped && !name.startsWith('__dataContext')) return String(scoped[name]);
      const known = this.values.get(name);
      if (known) return this.#formatted(name, known, wanted, format);
      const special = this.#special(name, path, scoped);
      if (special === undefined) this.complain(`undefined variable ${match} in ${text}`);
      return special === undefined ? match : wanted === 'percentencode' ? encodeURIComponent(special) : String(special);
    });
  }

  #formatted(name, { list, all, variable }, wanted, format) {
    const chosen = all && !variable.allValue ? list : all ? [variable.allValue] : list;
    if (wanted === 'queryparam') return this.#parameters(name);
    if (wanted === 'text' && all) return 'All';
    if (wanted && !FORMATS[wanted]) this.complain(`variable ${name}: unknown format ${wanted}`);
    if (!wanted && all && variable.allValue) return variable.allValue;
    return (FORMATS[wanted] ?? format)(chosen, variable);
  }

  #parameters(name) {
    const { list, all } = this.values.get(name);
    return (all ? [ALL] : list)
      .map((value) => `var-${name}=${encodeURIComponent(value)}`)
      .join('&');
  }

  // All variables and the time, as links between dashboards carry them.
  get parameters() {
    return [...this.values.keys()].map((name) => this.#parameters(name)).join('&');
  }

  get time() {
    return `from=${this.settings.from * 1000}&to=${this.settings.to * 1000}`;
  }

  #special(name, path, scoped) {
    const context = scoped.__dataContext?.value;
    const { from, to } = this.settings;
    switch (name) {
      case '__from':
        return from * 1000;
      case '__to':
        return to * 1000;
      case '__url_time_range':
        return this.time;
      case '__all_variables':
        return this.parameters;
      case '__data':
      case '__field':
      case '__series':
      case '__value':
        return context ? ofData(name, path, context) : undefined;
      default:
        return undefined;
    }
  }
}

// What links of values may name: the value, its field and series, and others in its row.
function ofData(name, path, { frame, field, rowIndex, calculatedValue }) {
  if (name === '__series') return getFrameDisplayName(frame);
  if (name === '__field') {
    return path === 'name' ? getFieldDisplayName(field, frame) : property(path)(field);
  }
  if (name === '__data') {
    const fields = getFieldDisplayValuesProxy({ frame, rowIndex });
    return property(path)({ name: frame.name, refId: frame.refId, fields })?.toString();
  }
  const shown = calculatedValue ?? field.display(field.values[rowIndex]);
  if (path === 'raw') return calculatedValue ? shown.numeric : field.values[rowIndex];
  return path === 'numeric' ? shown.numeric : formattedValueToString(shown);
}
