// Journeys at a terminal with a reader: by finger, by number and PIN, agreeing, giving up, languages, keyboard, access.
import assert from 'node:assert/strict';
import { start } from './browser.mjs';
import { Kiosk, tillBeside } from './kiosk.mjs';

/** Ada of the demo has a finger, a PIN and money. Dora has neither consent nor template. */
const ADA = { last4: '0142', phone: '442079460142', pin: '2580', finger: 1 };
const DORA = { name: 'Dora Example', number: 'D-104', pin: '7412' };

const step = (run) => ({ run });

export async function finger(site) {
  const dora = { request_ref: 'browser-dora', display_name: DORA.name, member_number: DORA.number };
  const { id } = await site.must(site.call('operator', 'POST', '/v1/accounts', dora), 201);
  const money = { top_up_ref: 'browser-dora', account: id, amount: { minor: 1_000, currency: 'EUR' } };
  await site.must(site.call('operator', 'POST', '/v1/top-ups', money), 201);
  await site.must(site.call('operator', 'PUT', `/v1/accounts/${id}/pin`, { pin: DORA.pin }), 204);
  return {
    'a payer pays by finger': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      await kiosk.page.getByText('Canteen').waitFor();
      await kiosk.page.getByText('Main hall').waitFor();
      await kiosk.photograph('attract');
      console.log(`first paint ${await firstPaint(kiosk.page)} ms`);
      const session = await site.ask();
      await kiosk.sees('Who is paying?');
      await kiosk.isAccessible();
      console.log(`a digit shows ${await reaction(kiosk.page)} ms after it was touched`);
      await kiosk.page.keyboard.press('Backspace');
      await kiosk.type(ADA.last4.slice(0, 2));
      await kiosk.photograph('identifier');
      await kiosk.type(ADA.last4.slice(2));
      await kiosk.sees('Touch the reader');
      await kiosk.isAccessible();
      await kiosk.photograph('touch');
      const done = await site.touch(session, ADA.finger);
      assert.equal(done.outcome, 'passed');
      await kiosk.sees('Thank you, A***');
      assert.equal((await site.charge(session, 5)).status, 201);
      await kiosk.sees('Paid');
      await kiosk.page.getByText('€0.05').waitFor();
      await kiosk.isAccessible();
      await kiosk.photograph('paid');
      // By itself, so that the next one finds nothing of the one before.
      await kiosk.sees('Pay here');
      await kiosk.close();
    }),

    'a payer without consent or template pays by number and pin': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const session = await site.ask();
      await kiosk.sees('Who is paying?');
      await kiosk.press('Use number and PIN');
      await kiosk.sees('Number and PIN');
      // Letters by touch as well.
      await kiosk.press('Letters');
      await kiosk.press('D');
      await kiosk.press('-');
      await kiosk.press('Digits');
      for (const digit of '104') await kiosk.press(digit);
      await kiosk.press('Next');
      await kiosk.sees('Your PIN');
      await kiosk.isAccessible();
      await kiosk.type('9999');
      await kiosk.press('OK');
      await kiosk.page.getByText('Number or PIN wrong').waitFor();
      await kiosk.type(DORA.number.toLowerCase());
      await kiosk.press('Next');
      await kiosk.type(DORA.pin);
      await kiosk.photograph('pin');
      await kiosk.press('OK');
      await kiosk.sees('Thank you, D***');
      assert.equal((await site.session(session)).outcome, 'passed');
      assert.equal((await site.charge(session, 150)).status, 201);
      await kiosk.sees('Paid');
      await kiosk.close();
    }),

    'whoever is not recognised goes on with number and pin': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const session = await site.ask();
      await kiosk.sees('Who is paying?');
      await kiosk.type(ADA.last4);
      await kiosk.sees('Touch the reader');
      // A stranger's finger, until the attempts are used up.
      await touching(site, 77, () => kiosk.sees('Number and PIN'));
      await kiosk.page.getByText('Once more, please').waitFor();
      await kiosk.press('Phone number');
      await kiosk.type(ADA.phone);
      await kiosk.press('Next');
      await kiosk.type(ADA.pin);
      await kiosk.press('OK');
      await kiosk.sees('Thank you, A***');
      assert.equal((await site.session(session)).outcome, 'passed');
      await kiosk.close();
    }),

    'three wrong entries end it and say no more than that': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const session = await site.ask();
      await kiosk.sees('Who is paying?');
      await kiosk.press('Use number and PIN');
      await threeWrongEntries(kiosk);
      assert.equal((await site.session(session)).outcome, 'declined');
      await kiosk.close();
    }),

    'a payer agrees to merchant and amount by pin, after a wrong one': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      await site.must(site.call('operator', 'PUT', '/v1/limits/site', { step_up_above_minor: 10 }), 200);
      try {
        const session = await pass(site, kiosk);
        assert.equal((await site.charge(session, 12)).status, 202);
        await kiosk.sees('Do you agree?');
        await kiosk.page.getByText('€0.12').waitFor();
        await kiosk.page.getByText('to Canteen').waitFor();
        await kiosk.isAccessible();
        await kiosk.photograph('confirm');
        await kiosk.type('9753');
        await kiosk.press('OK');
        await kiosk.page.getByText('This PIN is wrong').waitFor();
        await kiosk.type(ADA.pin);
        await kiosk.press('OK');
        await kiosk.sees('Paid');
        const other = await pass(site, kiosk);
        assert.equal((await site.charge(other, 11)).status, 202);
        await kiosk.sees('Do you agree?');
        await kiosk.press('I do not agree');
        await kiosk.sees('Not paid');
      } finally {
        await site.must(site.call('operator', 'PUT', '/v1/limits/site', {}), 200);
      }
      await kiosk.close(/status of 422/);
    }),

    'a payer takes a payment back where the merchant lets payers': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const first = await site.charge(await pass(site, kiosk), 4);
      await kiosk.sees('Paid');
      assert.equal(await kiosk.page.getByRole('button', { name: 'Take it back' }).count(), 0);
      const { merchant, id } = first.body;
      // This one does not let payers: it is asked.
      await kiosk.press('Ask for it back');
      await kiosk.page.getByText('The merchant or the operator decides').waitFor();
      await kiosk.isAccessible();
      await kiosk.press('Yes, ask for it back');
      await kiosk.sees('You asked for it back');
      await kiosk.isAccessible();
      await kiosk.photograph('asked-back');
      const asked = await site.must(site.call('merchant', 'GET', '/v1/undos'), 200);
      assert.deepEqual(asked.data.map((payment) => [payment.id, payment.frozen_minor]), [[id, 4]]);
      const decided = await site.must(site.call('merchant', 'POST', `/v1/payments/${id}/undo-decision`, { granted: true }), 201);
      assert.equal(decided.returned_minor, 4);
      const terms = `/v1/merchants/${merchant}/terms`;
      await site.must(site.call('operator', 'PUT', terms, { category: 'food', undo_minutes: 10, fee: 0 }), 204);
      const session = await pass(site, kiosk);
      assert.equal((await site.charge(session, 6)).status, 201);
      await kiosk.sees('Paid');
      await kiosk.press('Take it back');
      await kiosk.photograph('undo');
      await kiosk.press('Yes, take it back');
      await kiosk.sees('Taken back');
      await site.must(site.call('operator', 'PUT', terms, { category: 'food', undo_minutes: 0, fee: 0 }), 204);
      await kiosk.close();
    }),

    'the code is sent when the button is pressed, and shown where the screen is the register': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const session = await pass(site, kiosk, { handover: { register: 'screen', mode: 'on_request' } }, 'Ready, A***?');
      await kiosk.photograph('hand-over');
      await kiosk.press('Send the code to the till');
      await kiosk.sees('Show this to the scanner');
      const picture = kiosk.page.getByRole('img');
      await picture.waitFor();
      assert.ok(await picture.evaluate(async (image) => { await image.decode(); return image.naturalWidth > 200; }));
      assert.equal((await site.session(session)).handover.state, 'sent');
      await kiosk.close();
    }),

    'a payer cancels, and the till hears it': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const session = await site.ask();
      await kiosk.sees('Who is paying?');
      await kiosk.press('Cancel');
      await kiosk.sees('Cancelled');
      assert.equal((await site.session(session)).outcome, 'canceled');
      await kiosk.sees('Pay here');
      await kiosk.close();
    }),

    'time runs out where nobody is, and more of it can be had': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const session = await site.ask({ deadline_ms: 8_000 });
      await kiosk.sees('Who is paying?');
      const before = Date.parse((await site.session(session)).deadline_at);
      await kiosk.press('More time');
      const moved = await site.until(session, ({ deadline_at }) => Date.parse(deadline_at) > before);
      assert.equal(Date.parse(moved.deadline_at) - before, 30_000);
      await site.must(site.terminal('POST', `/v1/verifications/${session}/cancel`, { reason: 'cashier' }), 200);
      await kiosk.sees('Cancelled');
      const short = await site.ask({ deadline_ms: 1_000 });
      assert.equal((await site.done(short)).outcome, 'timed_out');
      await kiosk.sees('Time is over');
      await kiosk.sees('Pay here');
      await kiosk.close();
    }),

    'the payer changes the language, and the next payer has the operator\'s': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      await kiosk.press('中文');
      await kiosk.sees('在此付款');
      assert.equal(await kiosk.page.evaluate(() => document.documentElement.lang), 'zh-CN');
      await site.ask();
      await kiosk.sees('请输入号码');
      await kiosk.isAccessible();
      await kiosk.press('取消');
      await kiosk.sees('已取消');
      await kiosk.sees('Pay here');
      await kiosk.close();
    }),

    'everything goes by keyboard alone': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const session = await site.ask();
      await kiosk.sees('Who is paying?');
      await tabTo(kiosk.page, 'Use number and PIN');
      await kiosk.page.keyboard.press('Enter');
      await kiosk.sees('Number and PIN');
      await tabTo(kiosk.page, 'Phone number');
      await kiosk.page.keyboard.press('Space');
      await kiosk.type(ADA.phone);
      await tabTo(kiosk.page, 'Next');
      await kiosk.page.keyboard.press('Enter');
      await kiosk.sees('Your PIN');
      await kiosk.type(`${ADA.pin}`);
      await kiosk.page.keyboard.press('Enter');
      await kiosk.sees('Thank you, A***');
      assert.equal((await site.session(session)).outcome, 'passed');
      await kiosk.close();
    }),

    'only the browser that was opened is the page, and only with a key that is fresh': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const address = new URL(kiosk.page.url()).origin;
      const plain = await fetch(`${address}/v1/kiosk/events`);
      assert.equal(plain.status, 401);
      const cookie = { cookie: 'selfsame_kiosk=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' };
      assert.equal((await fetch(`${address}/v1/kiosk/events`, { headers: cookie })).status, 401);
      const body = JSON.stringify({ key: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' });
      const headers = { 'content-type': 'application/json' };
      assert.equal((await fetch(`${address}/v1/kiosk/open`, { method: 'POST', headers, body })).status, 401);
      const foreign = await fetch(`${address}/v1/kiosk/open`, { method: 'POST', headers: { ...headers, origin: 'http://127.0.0.1:1' }, body });
      assert.equal(foreign.status, 403);
      // Routes of registers and of the terminal's own programs are not on this port.
      for (const path of ['/v1/terminal', '/v1/diagnostics', '/v1/pairing-window', '/v1/kiosk-keys']) {
        assert.equal((await fetch(`${address}${path}`)).status, 404, path);
      }
      // A reload goes on; another browser with a fresh key takes its place, and this one is told.
      await kiosk.page.reload();
      await kiosk.sees('Pay here');
      const key = await site.key();
      const second = await start();
      try {
        const { page } = await (await import('./browser.mjs')).page(second);
        await page.goto(key);
        await page.getByRole('heading', { name: 'Pay here' }).waitFor();
        await kiosk.sees('This is not the terminal’s screen');
        await page.goto('about:blank');
        await page.goto(key);
        await page.getByRole('heading', { name: 'This is not the terminal’s screen' }).waitFor();
      } finally {
        await second.close();
      }
      await kiosk.close(/status of 401/);
    }),

    'whoever has withdrawn the consent is verified no more, and has the other way': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const till = await tillBeside(site, browser);
      const [ada] = (await site.must(site.call('operator', 'POST', '/v1/accounts/search', { kind: 'phone', value: ADA.phone }), 200)).data;
      const { data } = await site.must(site.call('operator', 'GET', `/v1/accounts/${ada.id}/consents`), 200);
      for (const { id } of data.filter((consent) => !consent.withdrawn_at)) {
        await site.must(site.call('operator', 'POST', `/v1/consents/${id}/withdraw`), 200);
      }
      await till.keyboard.type('7');
      await till.keyboard.press('Enter');
      await kiosk.sees('Who is paying?');
      await kiosk.type(ADA.last4);
      await kiosk.sees('Touch the reader');
      // Her own finger: there is nothing any more that it could be compared with.
      await touching(site, ADA.finger, () => kiosk.sees('Number and PIN'));
      await kiosk.photograph('withdrawn');
      await kiosk.isAccessible();
      await till.getByText('Payer types the PIN').waitFor();
      await threeWrongEntries(kiosk);
      await kiosk.isAccessible();
      await kiosk.photograph('withdrawn-refused');
      await till.getByText('Not recognised').waitFor();
      await till.screenshot({ path: `${site.pictures}/till-withdrawn.png` });
      // What she has a right to goes on: the cashier asks once more, and she pays by number and PIN.
      await till.keyboard.press('Enter');
      await kiosk.sees('Who is paying?');
      await kiosk.press('Use number and PIN');
      await kiosk.sees('Number and PIN');
      await kiosk.press('Phone number');
      await kiosk.type(ADA.phone);
      await kiosk.press('Next');
      await kiosk.type(ADA.pin);
      await kiosk.press('OK');
      await till.locator('#word', { hasText: /^PAID$/ }).waitFor();
      await kiosk.sees('Paid');
      await kiosk.close();
    }),

    'a terminal that is killed comes back by itself': step(async (browser) => {
      const kiosk = await Kiosk.open(site, browser);
      const { readFileSync } = await import('node:fs');
      process.kill(Number(readFileSync(`${site.site}/run/terminal.pid`, 'utf8')), 'SIGKILL');
      await kiosk.sees('One moment');
      await kiosk.sees('Pay here');
      await kiosk.close(/net::ERR/, /Failed to load resource/);
    }),
  };
}

/** As often as it can be tried, with the words for whoever is at a loss then. */
async function threeWrongEntries(kiosk) {
  for (let entry = 1; entry <= 3; entry += 1) {
    await kiosk.sees('Number and PIN');
    if (entry > 1) await kiosk.page.getByText('Number or PIN wrong').waitFor();
    await kiosk.type('X-404');
    await kiosk.press('Next');
    await kiosk.sees('Your PIN');
    await kiosk.type('2580');
    await kiosk.press('OK');
  }
  await kiosk.sees('That did not work');
  await kiosk.page.getByText('Check number and PIN with staff').waitFor();
}

/** A finger touches the reader again and again, for as long as `during` takes. */
async function touching(site, finger, during) {
  const stop = new AbortController();
  const touches = (async () => {
    for (let press = 90_000; !stop.signal.aborted; press += 1) {
      await site.verifier('POST', '/v1/presses', { finger, press });
      await new Promise((done) => setTimeout(done, 20));
    }
  })();
  try {
    await during();
  } finally {
    stop.abort();
    await touches;
  }
}

/** Ada passes by her finger. */
async function pass(site, kiosk, request = {}, title = 'Thank you, A***') {
  const session = await site.ask({ identifier: { kind: 'phone_last4', value: ADA.last4 }, ...request });
  const done = await site.touch(session, ADA.finger);
  assert.equal(done.outcome, 'passed');
  await kiosk.sees(title);
  return session;
}

/** Milliseconds until something was seen. Told, not tested: other work of the machine counts as well. */
const firstPaint = (page) => page.evaluate(() => Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime));

/** Milliseconds from the touch of a key until the screen has been drawn with what it did. */
function reaction(page) {
  return page.evaluate(async () => {
    const key = [...document.querySelectorAll('button')].find((button) => button.textContent === '7');
    const began = performance.now();
    key.click();
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return Math.round(performance.now() - began);
  });
}

/** Moves the focus as somebody without a pointer does. */
async function tabTo(page, name) {
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => document.activeElement?.textContent?.trim());
    if (focused === name) return;
  }
  throw new Error(`the keyboard does not reach "${name}"`);
}
