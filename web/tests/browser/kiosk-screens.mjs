// Every screen of the kiosk with made-up data, in both languages: looked at by axe, and photographed.
// node tests/browser/kiosk-screens.mjs [FOLDER]   photographs go to FOLDER, else to ../target/pages/kiosk
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, resolve } from 'node:path';
import { accessibility, kept, page as open, start } from './browser.mjs';

const FOLDER = resolve(process.argv[2] ?? new URL('../../../target/pages/kiosk', import.meta.url).pathname);
const DIST = new URL('../../dist/pages/', import.meta.url);
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html' };
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
  "media-src 'self' blob:; require-trusted-types-for 'script'; trusted-types svelte-trusted-html";

const soon = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();
const VIEW = {
  terminal: 'trm_0', state: 'ready', language: 'en', modalities: ['face', 'finger'], has_own_camera: false,
  place: { merchant_name: 'Canteen', store_name: 'Main hall' },
};
const HOSTILE = '<img src=x onerror=alert(1)>"\'&{}\u202e';
const SESSION = { id: 'ses_0', modality: 'face', state: 'waking', may_have_more_time: false, hand_over_here: false };
const waits = (state, more = {}) => ({ state, may_have_more_time: true, waits_until: soon(25), ...more });
const passed = (more) => ({ state: 'done', outcome: 'passed', payer_display: 'A***', ...more });
const payment = (status, more = {}) => passed({
  payment: { status, merchant_name: 'Canteen', amount: { minor: 1250, currency: 'EUR' }, gesture_confirms: false, returned: false, may_ask_back: false, asked_back: false, ...more },
});
const handed = (state, register = 'keyboard') => passed({ hand_over_here: true, handover: { register, state, expires_at: soon(50) } });

/** What the verification program says of frames, and whether the camera is wanted; see `serve`. */
let guidance = 'too_far';
let wish = { sequence: 1, on: false };
let wished = [];

/** Turns the camera on, and waits until its picture is there. */
async function seen(page) {
  turn(true);
  await page.waitForFunction(() => (document.querySelector('video')?.videoWidth ?? 0) > 0);
  await page.evaluate(() => new Promise((done) => setTimeout(done, 300)));
}

function turn(on) {
  if (wish.on === on) return;
  wish = { sequence: wish.sequence + 1, on };
  wished.forEach((response) => response.end(JSON.stringify(wish)));
  wished = [];
}

/** Name, what is shown of a session, what is done then, and what else the terminal says; without a session the latter alone. */
const SCREENS = {
  attract: undefined,
  'attract-hostile': { place: { merchant_name: HOSTILE, store_name: `${'W'.repeat(60)} ${'W'.repeat(60)}` } },
  'attract-unknown': { place: undefined },
  identifier: [waits('awaiting_identifier'), (page) => page.keyboard.type('01')],
  'identifier-short-of-time': [waits('awaiting_identifier', { waits_until: soon(7) })],
  'identifier-member': [waits('awaiting_identifier'), async (page) => { await page.locator('.kinds button').nth(1).click(); await page.locator('.toggle').click(); await page.keyboard.type('M-10'); }],
  'identifier-more-digits': [waits('awaiting_identifier', { guidance: 'more_digits' })],
  'align-opens': [waits('capturing')],
  align: [waits('capturing', { guidance: 'too_far' }), seen],
  'align-good': [waits('capturing'), (page) => { guidance = undefined; return seen(page); }],
  'align-colours': [waits('capturing', { challenge: { colours: ['green', 'red', 'blue'], step_ms: 60_000 } }), seen],
  'own-camera': [waits('capturing'), undefined, { has_own_camera: true, camera: undefined }],
  'own-camera-far': [waits('capturing', { guidance: 'too_far' }), undefined, { has_own_camera: true, camera: undefined }],
  touch: [waits('capturing', { modality: 'finger' })],
  'touch-again': [waits('capturing', { modality: 'finger', guidance: 'press_harder' })],
  'pin-number': [waits('awaiting_pin'), (page) => page.keyboard.type('M-104')],
  'pin-pin': [waits('awaiting_pin'), async (page) => { await page.keyboard.type('M-104'); await page.keyboard.press('Enter'); await page.keyboard.type('258'); }],
  'pin-wrong': [waits('awaiting_pin', { guidance: 'number_or_pin_wrong' })],
  working: [{ state: 'verifying' }],
  passed: [passed({})],
  'hand-over': [passed({ hand_over_here: true })],
  sent: [handed('sent')],
  'not-sent': [handed('uncertain')],
  code: [handed('sent', 'screen')],
  'confirm-pin': [payment('requires_action', { expires_at: soon(80) }), (page) => page.keyboard.type('25')],
  'confirm-gesture': [payment('requires_action', { gesture_confirms: true, merchant_name: '<b>Kantine & Söhne</b>' })],
  paid: [payment('succeeded')],
  'paid-undo': [payment('succeeded', { undo_until: soon(600) })],
  'paid-ask-back': [payment('succeeded', { may_ask_back: true })],
  'paid-ask-back-sure': [payment('succeeded', { may_ask_back: true }), (page) => page.locator('.again').click()],
  'asked-back': [payment('succeeded', { asked_back: true })],
  undone: [payment('reversed')],
  unpaid: [payment('canceled')],
  declined: [{ state: 'done', outcome: 'declined' }],
  canceled: [{ state: 'done', outcome: 'canceled' }],
  'timed-out': [{ state: 'done', outcome: 'timed_out' }],
  failed: [{ state: 'done', outcome: 'failed', error: 'capture_unavailable' }],
  'out-of-service': { state: 'maintenance', notice: 'Back at 14:00' },
};

let streams = [];

function serve(request, response) {
  const path = new URL(request.url, 'http://x').pathname;
  if (path === '/v1/kiosk/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`event: terminal\ndata: ${JSON.stringify(VIEW)}\n\n`);
    streams.push(response);
    return;
  }
  if (path === '/v1/camera') {
    const after = Number(new URL(request.url, 'http://x').searchParams.get('after'));
    response.writeHead(200, { 'content-type': 'application/json' });
    if (wish.sequence > after) response.end(JSON.stringify(wish));
    else wished.push(response);
    return;
  }
  if (path === '/v1/frames') {
    request.resume().on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ kept: guidance === undefined, enough: false, guidance: guidance ?? null }));
    });
    return;
  }
  if (path === '/v1/kiosk/code.png') {
    response.writeHead(200, { 'content-type': 'image/svg+xml' });
    response.end('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40"><path d="M5 5h4v30h-4zM12 5h2v30h-2zM18 5h6v30h-6zM28 5h2v30h-2z"/></svg>');
    return;
  }
  try {
    const file = path === '/' ? 'kiosk.html' : path.slice(1);
    const headers = { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-security-policy': POLICY };
    const content = readFileSync(new URL(file, DIST));
    response.writeHead(200, headers);
    response.end(content);
  } catch {
    response.writeHead(404).end();
  }
}

const tell = (view) => streams.forEach((stream) => stream.write(`event: terminal\ndata: ${JSON.stringify(view)}\n\n`));

const server = createServer(serve).listen(0, '127.0.0.1');
await new Promise((done) => server.once('listening', done));
const browser = await start();
const camera = { url: `http://127.0.0.1:${server.address().port}`, token: 'made-up' };
const findings = [];
mkdirSync(FOLDER, { recursive: true });
for (const language of ['en', 'zh-CN']) {
  const { page, wrong, context } = await open(browser);
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.locator('h1').first().waitFor();
  let number = 0;
  for (const [name, shown] of Object.entries(SCREENS)) {
    const [session, act, besides] = Array.isArray(shown) ? shown : [undefined, undefined, shown];
    const more = { ...(session && { session: { ...SESSION, ...session, id: `ses_${number++}` } }), ...besides };
    guidance = 'too_far';
    tell({ ...VIEW, camera, language, ...more });
    await page.waitForFunction((tag) => document.documentElement.lang === tag, language);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    if (act) await act(page);
    assert.equal(await page.locator('main img[src=x]').count(), 0, `${name}: what somebody wrote is text`);
    findings.push(...(await accessibility(page)).map((finding) => `${name}, ${language}: ${finding}`));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    const high = await page.evaluate(() => document.documentElement.scrollHeight - innerHeight);
    if (wide > 0 || high > 0) findings.push(`${name}, ${language}: larger than the screen by ${wide} x ${high}`);
    const small = await page.evaluate(() => [...document.querySelectorAll('button')].map((button) => button.getBoundingClientRect())
      .filter(({ width, height }) => width > 0 && Math.min(width, height) < 70).length);
    if (small > 0) findings.push(`${name}, ${language}: ${small} buttons smaller than 70 px`);
    await page.screenshot({ path: `${FOLDER}/${name}.${language}.png` });
    turn(false);
  }
  findings.push(...wrong.map((text) => `${language}: ${text}`));
  const left = await kept(page);
  assert.deepEqual([left.local, left.session, left.databases, left.caches, left.workers], [{}, {}, [], [], 0]);
  await context.close();
  streams = [];
}
await browser.close();
server.close();
server.closeAllConnections();
console.log(findings.join('\n') || `${Object.keys(SCREENS).length} screens in two languages: nothing found`);
process.exitCode = findings.length > 0 ? 1 : 0;
