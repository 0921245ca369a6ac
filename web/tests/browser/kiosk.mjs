// The payer's page on a real site in a real browser. `node tests/browser/kiosk.mjs GROUP` with the facts of the site as
// JSON on standard input; crates/selfsame/tests/it/kiosk.rs starts the site and this.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { accessibility, fromFolder, kept, page as open, start } from './browser.mjs';
import { finger } from './kiosk-finger.mjs';
import { colours, face } from './kiosk-face.mjs';
import { Site } from './site.mjs';

const PATIENCE_MS = 60_000;

/** What a journey has at hand: the site, and a page that is this terminal's. */
export class Kiosk {
  static async open(site, browser, options) {
    const kiosk = new Kiosk();
    Object.assign(kiosk, { site, ...(await open(browser, options)) });
    kiosk.page.setDefaultTimeout(PATIENCE_MS);
    await site.clear();
    const key = await site.key();
    if (site.pages) await fromFolder(kiosk.page, new URL(key).origin, site.pages, { '/': 'kiosk.html' });
    await kiosk.page.goto(key);
    await kiosk.sees('Pay here');
    return kiosk;
  }

  /** Waits for a title. */
  async sees(title) {
    await this.page.getByRole('heading', { level: 1, name: title }).waitFor();
  }

  press(name) {
    return this.page.getByRole('button', { name, exact: true }).click();
  }

  type(text) {
    return this.page.keyboard.type(text);
  }

  async photograph(name) {
    mkdirSync(this.site.pictures, { recursive: true });
    await this.page.screenshot({ path: `${this.site.pictures}/${name}.png` });
  }

  /** Nothing of a person stays in the browser, and the address names nobody. */
  async keepsNothing() {
    const found = await kept(this.page);
    const { address, ...rest } = found;
    assert.deepEqual(rest, { local: {}, session: {}, databases: [], caches: [], cookies: '', workers: 0 });
    assert.match(address, /^http:\/\/127\.0\.0\.1:\d+\/$/);
    const cookies = await this.context.cookies();
    for (const cookie of cookies) assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict' && cookie.expires === -1, JSON.stringify(cookie));
  }

  async isAccessible() {
    assert.deepEqual(await accessibility(this.page), []);
  }

  /** Everything that the page must not do, less what a journey brings about by itself. */
  async close(...expected) {
    await this.keepsNothing();
    await this.context.close();
    const wrong = this.wrong.filter((text) => !expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(wrong, []);
  }
}

/** The till's page beside the terminal, signed in and connected, in the same browser. */
export async function tillBeside(site, browser) {
  const page = await (await browser.newContext({ locale: 'en' })).newPage();
  await page.goto(`${site.server}/till`);
  await page.locator('#key').fill(site.merchant);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'No terminal' }).click();
  await site.must(site.terminal('POST', '/v1/pairing-window', {}), 200);
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.locator('#pairing-code').waitFor();
  const { asking } = await site.must(site.terminal('GET', '/v1/pairing-window'), 200);
  await page.locator('#pairing-code').fill(asking.code);
  await page.keyboard.press('Enter');
  await page.getByText('Connected with').waitFor();
  await page.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('button', { name: 'Terminal ready' }).waitFor();
  return page;
}

const GROUPS = { finger, face, colours };

if (process.argv[1]?.endsWith('kiosk.mjs')) {
  const group = process.argv[2] ?? '';
  const site = new Site(JSON.parse(readFileSync(0, 'utf8')));
  let failed = 0;
  let passed = 0;
  for (const [name, journey] of Object.entries(await GROUPS[group](site))) {
    const browser = await start({ ...journey.browser, folder: site.pages !== undefined });
    const started = performance.now();
    try {
      await journey.run(browser);
      passed += 1;
      console.log(`ok ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.error(`FAILED ${name}: ${error.stack}`);
      const pages = browser.contexts().flatMap((context) => context.pages());
      mkdirSync(site.pictures, { recursive: true });
      for (const page of pages) await page.screenshot({ path: `${site.pictures}/failed-${name.replaceAll(' ', '-')}.png` });
    } finally {
      await browser.close();
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}
