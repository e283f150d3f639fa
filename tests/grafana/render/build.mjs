// Bundle the page: node build.mjs FOLDER-WITH-node_modules OUTPUT-FOLDER
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const [home, output] = process.argv.slice(2);
const { build } = createRequire(path.join(home, 'package.json'))('esbuild');
const modules = path.join(home, 'node_modules');
const here = path.dirname(fileURLToPath(import.meta.url));

// What belongs to Grafana's editors and server, and is only named by what is drawn here.
const ABSENT = /^(@grafana\/runtime|@openfeature\/|monaco-editor|react-monaco-editor|@monaco-editor\/|ol$|ol\/|slate|@grafana\/slate-react)/;
// A file that its package does not export by name.
const INSIDE = {
  '@grafana/prometheus/result_transformer': '@grafana/prometheus/dist/esm/result_transformer.mjs',
};

const borders = {
  name: 'borders',
  setup(bundler) {
    bundler.onResolve({ filter: ABSENT }, ({ path: name }) => ({ path: name, namespace: 'absent' }));
    bundler.onLoad({ filter: /.*/, namespace: 'absent' }, () => ({ contents: 'module.exports = {};' }));
    bundler.onResolve({ filter: /^@grafana\/prometheus\// }, ({ path: name }) => ({
      path: path.join(modules, INSIDE[name]),
    }));
  },
};

await build({
  entryPoints: [path.join(here, 'page', 'page.jsx')],
  bundle: true,
  outfile: path.join(output, 'page.js'),
  format: 'iife',
  jsx: 'automatic',
  minify: true,
  nodePaths: [modules],
  logLevel: 'warning',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl' },
  plugins: [borders],
});
