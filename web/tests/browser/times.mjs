// How fast the pages are: first paint from loopback, and the time from a touch or key to the frame that shows what came of it.
// `node times.mjs PROGRAM REPORT` starts the demo's processes, measures, and leaves the figures in REPORT; fails when a budget
// is missed. `cargo xtask bench --only pages` calls it.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { start } from './browser.mjs';
import { figures, firstPaint, FIRST_PAINT_MS, measured, reaction, REACTION_MS, ROUNDS } from './budget.mjs';
import { Kiosk } from './kiosk.mjs';
import { Site } from './site.mjs';

const [program, report] = process.argv.slice(2);
if (!program || !report) {
  console.error('node times.mjs PROGRAM REPORT');
  process.exit(2);
}

/** Starts the demo on a site of its own and waits until it has shown everything. The folder's name is short, because a
    socket's path has 107 bytes at most. */
async function demo() {
  const folder = mkdtempSync('/tmp/selfsame-');
  const child = spawn(program, ['demo', '--site', `${folder}/site`], { stdio: ['ignore', 'pipe', 'inherit'] });
  const end = () => new Promise((done) => {
    child.once('exit', done);
    if (child.exitCode !== null || !child.kill('SIGTERM')) done();
  }).then(() => rmSync(folder, { recursive: true, force: true }));
  process.once('SIGINT', () => void end().then(() => process.exit(130)));
  process.once('SIGTERM', () => void end().then(() => process.exit(143)));
  const lines = createInterface(child.stdout);
  await new Promise((done, failed) => {
    lines.on('line', (line) => { if (line.includes('The processes stay up')) done(); });
    child.once('error', failed);
    child.once('exit', (code) => failed(new Error(`the demo ended with ${code}`)));
  });
  return { site: `${folder}/site`, end };
}

/** Loads the page again and again, once with nothing in the browser's cache and once with everything. */
async function paints(name, page, isThere) {
  const devtools = await page.context().newCDPSession(page);
  for (const [what, cacheDisabled] of [['first paint, nothing cached', true], ['first paint, opened again', false]]) {
    await devtools.send('Network.setCacheDisabled', { cacheDisabled });
    const times = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      await page.reload();
      await isThere();
      times.push(await firstPaint(page));
    }
    measured(name, what, FIRST_PAINT_MS, times);
  }
  await devtools.detach();
}

/** Does something again and again that shows below `selector`, and undoes it. */
async function reactions(name, what, page, selector, act, undo) {
  const times = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    times.push(await reaction(page, selector, act));
    await undo();
  }
  measured(name, what, REACTION_MS, times);
}

async function kiosk(facts) {
  const browser = await start();
  const site = new Site(facts);
  const { page, ...kiosk } = await Kiosk.open(site, browser);
  const sees = (title) => page.getByRole('heading', { level: 1, name: title }).waitFor();
  await paints('kiosk', page, () => sees('Pay here'));
  // Anew for each measurement: nobody is waited for for long.
  const asked = async () => {
    await site.clear();
    await sees('Pay here');
    await site.ask();
    await sees('Who is paying?');
  };
  await asked();
  const seven = page.getByRole('button', { name: '7', exact: true });
  const erase = () => page.keyboard.press('Backspace');
  await reactions('kiosk', 'touch of a digit', page, '.value', () => seven.click(), erase);
  await asked();
  await reactions('kiosk', 'key of a digit', page, '.value', () => page.keyboard.press('7'), erase);
  const chinese = page.getByRole('button', { name: '中文' });
  const english = page.getByRole('button', { name: 'English' });
  await asked();
  await reactions('kiosk', 'touch of another language', page, 'h1', () => chinese.click(), () => english.click());
  await site.clear();
  await kiosk.context.close();
  await browser.close();
}

async function staff({ Staff }, facts) {
  const till = await Staff.at('till');
  await till.signIn(facts.merchant);
  const { page } = till;
  const receipts = page.getByRole('button', { name: /Receipts/ });
  await paints('till', page, () => receipts.waitFor());
  const erase = () => page.keyboard.press('Backspace');
  const seven = page.getByRole('button', { name: '7', exact: true });
  await reactions('till', 'key of a digit', page, 'output', () => page.keyboard.press('7'), erase);
  await reactions('till', 'touch of a digit', page, 'output', () => seven.click(), erase);
  await reactions('till', 'touch of Receipts, and back', page, '.frame', () => receipts.click(), () => page.keyboard.press('F2'));
  await till.context.close();

  const desk = await Staff.at('desk');
  await desk.signIn(facts.operator);
  const value = desk.page.locator('#value');
  await paints('desk', desk.page, () => value.waitFor());
  await value.focus();
  await reactions('desk', 'key of a number', desk.page, 'form', () => desk.page.keyboard.press('7'), () => desk.page.keyboard.press('Backspace'));
  const chinese = desk.page.getByRole('button', { name: '中文' });
  await reactions('desk', 'touch of another language', desk.page, 'main', () => chinese.click(), () => desk.page.getByRole('button', { name: 'English' }).click());
  await desk.context.close();
}

const running = await demo();
try {
  const read = (file) => readFileSync(`${running.site}/${file}`, 'utf8').trim();
  const facts = { program, site: running.site, server: read('run/server.url'), operator: read('keys/operator'), merchant: read('keys/merchant') };
  process.env.SELFSAME_PAGES = JSON.stringify({
    server: facts.server, folder: running.site, merchantKey: facts.merchant, operatorKey: facts.operator, artefacts: `${running.site}/pictures`,
  });
  // It reads where everything is when it is loaded.
  const harness = await import('./harness.mjs');
  await kiosk(facts);
  const browser = await harness.launch();
  await staff(harness, facts);
  const about = { browser: `chromium ${browser.version()}`, processors: cpus().length, processor: cpus()[0]?.model };
  await harness.close();
  writeFileSync(report, `${JSON.stringify({ ...about, figures }, null, 2)}\n`);
} finally {
  await running.end();
}
const missed = figures.filter(({ met }) => !met);
console.log(missed.length === 0 ? 'all budgets are met' : `missed: ${missed.map(({ page, what }) => `${page}, ${what}`).join('; ')}`);
process.exitCode = missed.length === 0 ? 0 : 1;
