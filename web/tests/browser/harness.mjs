// What the browser tests share: Debian's chromium, people and terminals that are not in the browser, and what is looked at
// on every screen. Run by crates/selfsame/tests/it/pages.rs, which starts the processes and says in SELFSAME_PAGES where
// they are. Every step waits for what it needs and for nothing else; a test that hangs is ended from there.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { chromium } from 'playwright-core';
import { fromFolder } from './browser.mjs';

/** Where everything is: addresses, folders, keys. */
export const site = JSON.parse(process.env.SELFSAME_PAGES ?? '{}');

/** The server's process; another one after it was killed. */
site.serverPid = () => readFileSync(`${site.folder}/run/server.pid`, 'utf8').trim();

/** Longest wait for something that only a defect can delay, in milliseconds. */
export const PATIENCE_MS = 45_000;

const PAUSE_MS = 60;

const AXE = readFileSync(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

export const pause = (ms = PAUSE_MS) => new Promise((done) => { setTimeout(done, ms); });

/** Waits until `look` answers something. */
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < end, `nothing came of: ${what}`);
    await pause();
  }
}

/** A call of one of our interfaces, over TCP or a Unix socket. */
export function call(to, method, path, body, headers = {}) {
  const target = to.startsWith('/') ? { socketPath: to, host: 'localhost' } : { host: new URL(to).hostname, port: new URL(to).port };
  const text = body === undefined ? '' : JSON.stringify(body);
  return new Promise((done, failed) => {
    const asked = request({ ...target, method, path, agent: false, headers: { ...headers, ...(text && { 'content-type': 'application/json' }) } }, (answer) => {
      let got = '';
      answer.setEncoding('utf8').on('data', (part) => { got += part; }).on('end', () => done({ status: answer.statusCode, body: got ? JSON.parse(got) : null })).on('error', failed);
    });
    asked.on('error', failed).end(text);
  });
}

const keyed = (key) => async (method, path, body, status) => {
  const answer = await call(site.server, method, path, body, { authorization: `Bearer ${key}` });
  assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
};

/** The server, with the operator's key and with the merchant's. */
export const operator = keyed(site.operatorKey);
export const merchant = keyed(site.merchantKey);

const socket = (name) => `${site.folder}/run/${name}.sock`;
export const terminal = (method, path, body) => call(socket('terminal'), method, path, body);
export const verifier = (method, path, body) => call(socket('verifier'), method, path, body);
export const deskReader = (method, path, body) => call(`${site.folder}/desk/run/verifier.sock`, method, path, body);

/** Presses that no enrolment uses. */
let nextPress = 20_000;

/** Somebody comes to the terminal: types the number when asked, and presses until it is over or `isOver` says so. */
export async function comesToTerminal({ number, finger }, isOver) {
  const identifier = { kind: number.length === 4 ? 'phone_last4' : 'member_number', value: number };
  let typed = false;
  await until(`${number} at the terminal`, async () => {
    if (await isOver()) return true;
    // Somebody asked for the number first, or knew it already.
    if (!typed) typed = (await verifier('POST', '/v1/identifier', { identifier })).status < 300;
    if ((await verifier('POST', '/v1/presses', { finger, press: nextPress })).status < 300) nextPress += 1;
    return false;
  });
}

/** A person with money and an enrolled finger, by the desk's own interface. */
export async function person({ name, number, finger, minor = 0, phone }) {
  const made = { request_ref: `made-${number}`, display_name: name, member_number: number, ...(phone && { phone }) };
  const { id } = await operator('POST', '/v1/accounts', made, 201);
  const consent = await operator('POST', '/v1/consents', { account: id, text_version: '2026-11', language: 'en' }, 201);
  if (minor > 0) await operator('POST', '/v1/top-ups', { top_up_ref: `made-${number}`, account: id, amount: { minor, currency: 'EUR' } }, 201);
  await enrolFinger(id, consent.id, finger);
  return { account: id, consent: consent.id, number, finger, name };
}

let enrolPress = 1;

async function enrolFinger(account, consent, finger) {
  const origin = { origin: site.server };
  const { body: desk } = await call(site.desk, 'GET', '/v1/desk', undefined, origin);
  const enrolment = await operator('POST', '/v1/enrolments', { account, consent, terminal: desk.terminal, modality: 'finger', instance: 2 }, 201);
  await until(`finger ${finger} enrolled`, async () => {
    const current = await operator('GET', `/v1/enrolments/${enrolment.id}`, undefined, 200);
    const { body: opened } = await call(site.desk, 'POST', '/v1/captures', { enrolment: current }, origin);
    const bearer = { ...origin, authorization: `Bearer ${opened.key}` };
    const ended = await until(`samples of finger ${finger}`, async () => {
      const { body } = await call(site.desk, 'GET', '/v1/captures/current', undefined, bearer);
      if (body.state === 'capturing') {
        if ((await deskReader('POST', '/v1/presses', { finger, press: enrolPress })).status < 300) enrolPress += 1;
        return null;
      }
      return body.state === 'sending' ? null : body;
    });
    // One press in five is a careless one: then all are taken again.
    assert.ok(ended.state === 'enrolled' || ended.problem?.code === 'sample_rejected', JSON.stringify(ended));
    return ended.state === 'enrolled';
  });
}

/** Digits of a code of this person, as a scanner reads them: verified at the terminal without the page. */
export async function codeOf(who) {
  const asked = await terminal('POST', '/v1/verifications', { request_id: `code-${nextPress}-${Math.random()}`, modality: 'finger', identifier: { kind: 'member_number', value: who.number } });
  assert.ok(asked.status < 300, JSON.stringify(asked.body));
  const path = `/v1/verifications/${asked.body.id}`;
  const session = async () => (await terminal('GET', path)).body;
  await comesToTerminal(who, async () => (await session()).state === 'done');
  assert.equal((await session()).outcome, 'passed');
  return {
    session: asked.body.id,
    digits: (await terminal('POST', `${path}/handover`, { register: 'return' })).body.handover.digits,
  };
}

/** Whether the tools are there; the reason if not. */
export function missing() {
  return existsSync('/usr/bin/chromium') ? null : 'there is no /usr/bin/chromium';
}

let browser;

/** Starts chromium. `camera`: a file of JPEGs, shown as what the camera sees. Without `permission` nobody may look. */
export async function launch(camera, { permission = true } = {}) {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  // A page from a folder is not of this machine to the browser, which would ask its user first.
  if (site.pages) args.push('--disable-features=LocalNetworkAccessChecks');
  if (camera) args.push('--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${camera}`);
  args.push(permission ? '--use-fake-ui-for-media-stream' : '--deny-permission-prompts');
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args });
  return browser;
}

export const close = async () => browser?.close();

const shots = `${site.artefacts}`;
mkdirSync(shots, { recursive: true });

/** More than any page has controls. */
const TABS_MAX = 60;

/** Has the page speak another language, also where a dialog keeps its buttons from being touched. Moves no focus. */
async function speak(page, tag) {
  await page.evaluate((tag) => document.querySelector(`.languages button[lang="${tag}"]`).click(), tag);
  await page.waitForFunction((tag) => document.documentElement.lang === tag, tag);
}

/** A browser of one person of staff, in a window of this size. Nothing may go wrong in its console. */
export class Staff {
  static async at(page, { width = 1024, height = 768, language = 'en' } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, locale: language });
    const staff = new Staff();
    staff.kind = page;
    staff.context = context;
    staff.complaints = [];
    complaints.push(staff.complaints);
    staff.page = await staff.tab();
    return staff;
  }

  /** A further tab. */
  async tab() {
    const page = await this.context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => this.complaints.push(`error: ${error.message}`));
    page.on('console', (message) => {
      // Answers that say no, and servers that are away, are written there by the browser itself.
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) this.complaints.push(message.text());
    });
    if (site.pages) await fromFolder(page, site.server, site.pages, { [`/${this.kind}`]: `${this.kind}.html` });
    await page.goto(`${site.server}/${this.kind}`);
    return page;
  }

  async signIn(key, page = this.page) {
    await page.locator('#key').fill(key);
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: /Sign out|退出登录/ }).waitFor();
  }

  /** Looks at a screen in both languages: a picture of it, nothing wider than the window, and nothing that axe finds serious. */
  async look(name, page = this.page) {
    const own = await page.evaluate(() => document.documentElement.lang);
    await this.#lookAt(name, page);
    for (const tag of ['en', 'zh-CN'].filter((tag) => tag !== own)) {
      await speak(page, tag);
      await this.#lookAt(`${name}.${tag}`, page);
    }
    await speak(page, own);
  }

  async #lookAt(name, page) {
    await page.screenshot({ path: `${shots}/${name}.png`, animations: 'disabled' });
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wider <= 0, `${name}: ${wider} px wider than the window`);
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    const text = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
    assert.deepEqual(text, [], `${name}: axe`);
  }

  /** Moves the focus by Tab until it is at `what`: an id, the text on a button, or a kind of field. Whoever has no pointer has to
      see where that is. */
  async tabTo(what, page = this.page) {
    for (let tabs = 0; tabs < TABS_MAX; tabs += 1) {
      await page.keyboard.press('Tab');
      const found = await page.evaluate((what) => {
        const { activeElement: at } = document;
        const words = at?.textContent?.trim() ?? '';
        const isThere = at?.id === what || at?.getAttribute('type') === what || (at?.matches('button, summary') && words.startsWith(what));
        if (!isThere) return null;
        const { outlineStyle, outlineWidth } = getComputedStyle(at);
        return at.matches(':focus-visible') && outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2 ? 'seen' : 'hidden';
      }, what);
      if (found) return assert.equal(found, 'seen', `the focus at ${what} can be seen`);
    }
    return assert.fail(`no way to ${what} by Tab`);
  }

  async end() {
    assert.deepEqual(this.complaints, [], 'the console');
    const kept = await this.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    assert.ok(!/\d{18}/.test(kept) && !kept.includes(site.merchantKey) && !kept.includes(site.operatorKey), 'the browser keeps no code and no key');
    await this.context.close();
  }
}

/** Presses keys at given times, as the browser's window system would: `gapMs` apart, whatever this machine takes. */
export async function keys(page, codes, gapMs) {
  const devtools = await page.context().newCDPSession(page);
  // A second ago, so that none is from the future.
  const began = Date.now() / 1000 - (codes.length * gapMs) / 1000;
  for (const [index, code] of codes.entries()) {
    const timestamp = began + (index * gapMs) / 1000;
    const key = /^Digit\d$/.test(code) ? code.slice(5) : code === 'Minus' ? '-' : code;
    const text = key.length === 1 ? { text: key } : code === 'Enter' ? { text: '\r' } : {};
    const windowsVirtualKeyCode = code === 'Enter' ? 13 : key.charCodeAt(0);
    await devtools.send('Input.dispatchKeyEvent', { type: 'keyDown', code, key, timestamp, windowsVirtualKeyCode, ...text });
    await devtools.send('Input.dispatchKeyEvent', { type: 'keyUp', code, key, timestamp: timestamp + 0.001, windowsVirtualKeyCode });
  }
  await devtools.detach();
}

/** A scanner that types: 8 ms a key, then Enter. */
export const scan = (page, text) => keys(page, [...Array.from(text, (character) => (character === '-' ? 'Minus' : `Digit${character}`)), 'Enter'], 8);

/** What all consoles said. */
const complaints = [];

/** One test of several in a file. */
export async function test(name, work) {
  const started = Date.now();
  try {
    await work();
  } catch (error) {
    console.error(`FAILED ${name}\n`, error, complaints.flat());
    let number = 0;
    for (const context of browser?.contexts() ?? []) {
      for (const page of context.pages()) await page.screenshot({ path: `${shots}/failed-${number++}.png` }).catch(() => undefined);
    }
    await close();
    process.exit(1);
  }
  console.log(`ok ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}
