// Draw dashboards: node draw.mjs FOLDER-WITH-node_modules FOLDER-OF-THE-BUNDLE JOBS.json
// A job names the page's settings, the size of the window and where the picture goes; what the
// page says of itself goes beside the picture, as JSON.
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';

const [home, bundle, list] = process.argv.slice(2);
const { chromium } = createRequire(path.join(home, 'package.json'))('playwright-core');

const WAIT = 60_000; // [ms] for a page to say that it is done

const PAGE =
  '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">' +
  '<link rel="stylesheet" href="/page.css"><style>body { margin: 0; }</style>' +
  '<div id="root"></div><script src="/page.js"></script>';
const TYPES = { '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };

// What Grafana's server keeps in its folder "public", and where the packages have it.
const ICONS = path.join(home, 'node_modules/@grafana/ui/dist/public/img/icons');
const FONTS = path.join(home, 'node_modules/@fontsource/inter/files');
const FACES = { 'Inter-Regular.woff2': 'inter-latin-400-normal.woff2', 'Inter-Medium.woff2': 'inter-latin-500-normal.woff2' };

function fileOf(pathname) {
  const name = path.basename(pathname);
  if (FACES[name]) return path.join(FONTS, FACES[name]);
  if (pathname.includes('/icons/')) return path.join(ICONS, pathname.split('/').at(-2), name);
  return path.join(bundle, name);
}

async function serve(request, response) {
  const { pathname } = new URL(request.url, 'http://page');
  const type = TYPES[path.extname(pathname)] ?? 'text/html; charset=utf-8';
  try {
    const body = pathname === '/' ? PAGE : await readFile(fileOf(pathname));
    response.writeHead(200, { 'content-type': type }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}

// Whatever the page says to its console, breaks, or asks of anybody else than this machine.
async function listen(page, problems) {
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`the page failed: ${error.message}`));
  await page.route('**', (route) => {
    if (new URL(route.request().url()).hostname === '127.0.0.1') return route.continue();
    problems.push(`the page asked for ${route.request().url()}`);
    return route.abort();
  });
}

async function draw(browser, address, { settings, width, height, scale, picture }) {
  const viewport = { width, height: 900 };
  const context = await browser.newContext({ viewport, deviceScaleFactor: scale, timezoneId: 'UTC' });
  const page = await context.newPage();
  const problems = [];
  await listen(page, problems);
  await page.clock.setFixedTime(settings.to * 1000);
  await page.addInitScript((given) => (window.settings = given), { ...settings, width });
  await page.goto(address);
  await page.waitForFunction('window.report?.drawn', null, { timeout: WAIT });
  const tall = await page.evaluate('window.report.height');
  await page.setViewportSize({ width, height: tall });
  await page.evaluate('window.settled()');
  await page.screenshot({ path: picture, clip: { x: 0, y: 0, width, height: height ?? tall } });
  const report = await page.evaluate('window.told()');
  report.problems.push(...new Set(problems));
  await writeFile(`${picture.replace(/\.png$/, '')}.json`, JSON.stringify(report, null, 1));
  await context.close();
}

const server = createServer(serve).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--hide-scrollbars'],
});
try {
  for (const job of JSON.parse(await readFile(list, 'utf-8'))) {
    await draw(browser, `http://127.0.0.1:${server.address().port}/`, job);
  }
} finally {
  await browser.close();
  server.close();
}
