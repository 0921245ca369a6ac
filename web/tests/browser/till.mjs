// The cashier's till on the real processes: every way in which a sale ends, and none in which it is charged twice.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import {
  call, close, codeOf, comesToTerminal, keys, launch, merchant, missing, operator, pause, person, scan, site, Staff, terminal, test, until,
} from './harness.mjs';

const reason = missing();
if (reason) {
  console.log(`skipped: ${reason}`);
  process.exit(0);
}

await launch();

const word = (page) => page.locator('#word').innerText();
const says = (page, text) => until(`the till says ${text}`, async () => (await word(page)) === text);
const history = async () => (await merchant('GET', '/v1/payments/history?limit=100', undefined, 200)).data;
const charges = async (minor) => (await history()).filter(({ kind, amount, status }) => kind === 'charge' && amount.minor === minor && status === 'succeeded');
const balance = async (who) => (await operator('GET', `/v1/accounts/${who.account}`, undefined, 200)).wallets[0].balance_minor;
const amount = async (page, digits) => { await page.keyboard.type(digits); };

/** Hostile in every field that staff or payers can fill. */
const HOSTILE = '<img src=x onerror=alert(1)>"\'&{}';

const people = [];
for (let number = 1; number <= 10; number += 1) {
  people.push(await person({ name: number === 1 ? HOSTILE : `Payer ${number}`, number: `M-20${number}`, finger: 200 + number, minor: 5000 }));
}
const poor = await person({ name: 'Poor', number: 'M-300', finger: 300, minor: 100 });
const [ada, ben] = people;

let till;

await test('sign in: wrong key, the other page’s key, the right one; and out again', async () => {
  till = await Staff.at('till');
  const { page } = till;
  await till.look('till-sign-in');
  for (const [key, words] of [['sk_test_wrong', 'not known'], [site.operatorKey, 'takes the key of a merchant']]) {
    await page.locator('#key').fill(key);
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: words }).waitFor();
    assert.equal(await page.locator('#key').inputValue(), '', 'what was typed is not kept');
  }
  await till.signIn(site.merchantKey);
  await says(page, 'Ready');
  await till.look('till-ready-scanner');
  const cookies = await till.context.cookies();
  assert.ok(cookies.length > 0 && cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === 'Strict'));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('#key').waitFor();
  await page.reload();
  await page.locator('#key').waitFor();
  await till.signIn(site.merchantKey);
});

await test('a code typed as by a scanner pays; the same digits typed by hand do not', async () => {
  const { page } = till;
  const { digits } = await codeOf(ada);
  await keys(page, Array.from(digits, (digit) => `Digit${digit}`), 150);
  assert.notEqual(await word(page), 'PAID');
  assert.equal(await page.getByText('Code scanned').count(), 0);
  await page.keyboard.press('Escape');
  await amount(page, '420');
  await page.keyboard.press('Enter');
  await says(page, 'WAITING FOR PAYER');
  await till.look('till-waiting-scan');
  await scan(page, digits);
  await says(page, 'PAID');
  await page.getByText('€4.20').first().waitFor();
  await till.look('till-paid');
  assert.equal((await charges(420)).length, 1);
});

await test('a code that no scanner reads is typed into its field', async () => {
  const { page } = till;
  const { digits } = await codeOf(ben);
  await amount(page, '423');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Type the code' }).click();
  const swapped = digits.slice(0, 9) + digits.slice(10, 11) + digits.slice(9, 10) + digits.slice(11);
  await page.keyboard.type(swapped === digits ? digits.slice(1) : swapped);
  await page.keyboard.press('Enter');
  await page.getByText('a digit was misread').waitFor();
  await till.look('till-typed-code');
  await page.locator('#code').fill(digits.replace(/(....)/g, '$1 '));
  await page.keyboard.press('Enter');
  await says(page, 'PAID');
  assert.equal((await charges(423)).length, 1);
});

await test('a code that is scanned first waits for the amount; goods and other codes are no codes', async () => {
  const { page } = till;
  const { digits } = await codeOf(ben);
  await scan(page, digits);
  await page.getByText('Code scanned').waitFor();
  await scan(page, '4006381333931');
  await page.getByText('no payment code').waitFor();
  await till.look('till-misread');
  await amount(page, '421');
  await page.keyboard.press('Enter');
  await says(page, 'PAID');
  // A code is good once, whatever it is charged with.
  await amount(page, '422');
  await page.keyboard.press('Enter');
  await scan(page, digits);
  await page.getByText('has paid another order').waitFor();
  await page.keyboard.press('F4');
  await says(page, 'NOT PAID HERE');
  await page.getByText('will not be charged').waitFor();
  await till.look('till-other');
  assert.equal((await charges(422)).length, 0);
});

await test('pairing: the terminal is found, shows a code, and knows this till from then on', async () => {
  const { page } = till;
  await page.getByRole('button', { name: 'No terminal' }).click();
  const connect = page.getByRole('button', { name: 'Connect' });
  await connect.waitFor();
  await connect.click();
  await page.getByText('let somebody at the terminal open the pairing').waitFor();
  await till.look('till-terminal');
  await terminal('POST', '/v1/pairing-window', {});
  await connect.click();
  const code = await until('the terminal shows a code', async () => (await terminal('GET', '/v1/pairing-window')).body.asking?.code);
  await page.locator('#pairing-code').fill(code);
  await till.look('till-terminal-code');
  await page.keyboard.press('Enter');
  await page.getByText('Connected with').waitFor();
  await till.look('till-terminal-paired');
  const finger = page.getByText('a finger');
  if (await finger.count()) await finger.click();
  await page.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('button', { name: 'Terminal ready' }).waitFor();
  await till.look('till-ready');
});

await test('ten payers with nothing touched but amount and Enter', async () => {
  const { page } = till;
  for (const [index, who] of people.entries()) {
    const minor = 500 + index;
    await amount(page, String(minor));
    if (index === 0) await till.look('till-amount');
    await page.keyboard.press('Enter');
    if (index === 0) {
      await says(page, 'WAITING FOR PAYER');
      await till.look('till-waiting');
    }
    await comesToTerminal(who, async () => (await word(page)) === 'PAID');
    const paid = await charges(minor);
    assert.equal(paid.length, 1, `${who.number} paid once`);
  }
});

await test('verified while the order is typed: Enter pays at once', async () => {
  const { page } = till;
  await amount(page, '6');
  await comesToTerminal(ada, async () => (await page.getByText('verified').count()) > 0);
  await till.look('till-verified');
  await amount(page, '66');
  await page.keyboard.press('Enter');
  await says(page, 'PAID');
  assert.equal((await charges(666)).length, 1);
});

await test('declined, topped up at the desk, and paid without a second scan', async () => {
  const { page } = till;
  await amount(page, '350');
  await page.keyboard.press('Enter');
  await comesToTerminal(poor, async () => (await word(page)) === 'NOT PAID');
  await page.getByText('Not enough money').waitFor();
  await till.look('till-declined');
  await operator('POST', '/v1/top-ups', { top_up_ref: 'poor-1', account: poor.account, amount: { minor: 1000, currency: 'EUR' } }, 201);
  await page.keyboard.press('Enter');
  await says(page, 'PAID');
  assert.equal(await balance(poor), 750);
});

await test('declined, and paid another way: the order can never be charged again', async () => {
  const { page } = till;
  await amount(page, '4402');
  await page.keyboard.press('Enter');
  await comesToTerminal(ben, async () => (await word(page)) === 'NOT PAID');
  await page.getByText('limit of the day').waitFor();
  const ref = await page.evaluate(() => JSON.parse(Object.entries(localStorage).find(([key]) => key.endsWith('.order'))[1]).ref);
  await page.getByRole('button', { name: 'Pay another way' }).click();
  await page.getByText('will not be charged').waitFor();
  const answer = await call(site.server, 'GET', `/v1/payments?order_ref=${ref}`, undefined, { authorization: `Bearer ${site.merchantKey}` });
  assert.equal(answer.body.code, 'order_reversed');
});

await test('a lost answer is asked for by the order, and paid once', async () => {
  const { page } = till;
  // The server decides, and its answer never arrives.
  await page.route('**/v1/payments', async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await page.route('**/v1/payments?order_ref=*', (route) => route.abort(), { times: 2 });
  await amount(page, '700');
  await page.keyboard.press('Enter');
  await comesToTerminal(people[2], async () => ['ASK AGAIN', 'PAID'].includes(await word(page)));
  await says(page, 'PAID');
  assert.equal((await charges(700)).length, 1);
});

await test('reload, double Enter and a second tab in the middle charge once', async () => {
  const { page } = till;
  const before = await balance(people[3]);
  let held;
  await page.route('**/v1/payments', async (route) => {
    await route.fetch();
    held = route;
  }, { times: 1 });
  await amount(page, '701');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await comesToTerminal(people[3], async () => held !== undefined);
  // In the middle of it: the charge is decided, the page does not know.
  await page.reload();
  await says(page, 'PAID');
  assert.equal((await charges(701)).length, 1);

  // Declined first, so that the order is in the middle; then a second tab takes the till over and goes on with it.
  await amount(page, '4405');
  await page.keyboard.press('Enter');
  await comesToTerminal(people[4], async () => (await word(page)) === 'NOT PAID');
  const second = await till.tab();
  await second.getByText('open in another tab').waitFor();
  await till.look('till-second-tab', second);
  await second.getByRole('button', { name: 'Use the till here' }).click();
  await page.getByText('open in another tab').waitFor();
  await until('the second tab goes on with the order', async () => (await second.getByText('€44.05').count()) > 0);
  // Keys and clicks in the first one do nothing any more.
  await page.keyboard.press('Enter');
  await second.keyboard.press('F4');
  await says(second, 'NOT PAID HERE');
  await second.close();
  await page.getByText('open in another tab').waitFor({ state: 'detached' });

  await amount(page, '702');
  await page.keyboard.press('Enter');
  await comesToTerminal(people[3], async () => (await word(page)) === 'PAID');
  await page.locator('.main').dblclick();
  assert.equal((await charges(702)).length, 1);
  assert.equal(await balance(people[3]), before - 701 - 702);
});

await test('the server is killed in the middle, says so, and the sale goes on by itself', async () => {
  const { page } = till;
  await amount(page, '703');
  await comesToTerminal(people[5], async () => (await page.getByText('verified').count()) > 0);
  await call(site.server, 'GET', '/livez');
  process.kill(Number(site.serverPid()), 'SIGSTOP');
  await page.keyboard.press('Enter');
  await page.getByText('The server is away').waitFor();
  await until('waits, with a clock', async () => ['ASK AGAIN', 'WAITING FOR PAYER', 'CHARGING'].includes(await word(page)));
  assert.match(await page.locator('.clock').innerText(), /^\d+:\d\d/);
  await till.look('till-away');
  process.kill(Number(site.serverPid()), 'SIGKILL');
  await until('PAID or asked for again', async () => {
    const now = await word(page);
    if (now === 'NOT PAID') await page.keyboard.press('Enter');
    return now === 'PAID';
  });
  assert.equal(await page.getByText('The server is away').count(), 0);
  assert.equal((await charges(703)).length, 1);
});

await test('outcome unknown and unavailable end well (magic amounts)', async () => {
  const { page } = till;
  await amount(page, '4403');
  await page.keyboard.press('Enter');
  await comesToTerminal(people[6], async () => ['PAID', 'ASK AGAIN'].includes(await word(page)));
  await says(page, 'PAID');
  assert.equal((await charges(4403)).length, 1);
});

await test('above a limit the payer agrees at the terminal; the till waits with a clock, and may give up', async () => {
  const { page } = till;
  const who = people[7];
  await operator('PUT', `/v1/accounts/${who.account}/pin`, { pin: '4931' }, 204);
  await amount(page, '4406');
  await page.keyboard.press('Enter');
  await comesToTerminal(who, async () => (await page.getByText('has to agree').count()) > 0);
  await till.look('till-confirm');
  const { body: status } = await terminal('GET', '/v1/terminal');
  await until('the terminal asks the payer', async () => (await terminal('GET', '/v1/terminal')).body.to_confirm);
  const session = (await terminal('GET', '/v1/terminal')).body.to_confirm ?? status.to_confirm;
  const agreed = await terminal('POST', `/v1/verifications/${session}/confirmation`, { pin: '4931' });
  assert.equal(agreed.status, 200, JSON.stringify(agreed.body));
  await says(page, 'PAID');
});

await test('not recognised: the cashier asks again with Enter', async () => {
  const { page } = till;
  await amount(page, '704');
  await page.keyboard.press('Enter');
  const stranger = { number: people[8].number, finger: 999 };
  await comesToTerminal(stranger, async () => (await page.getByText('Not recognised').count()) > 0);
  await till.look('till-not-recognised');
  await page.keyboard.press('Enter');
  await comesToTerminal(people[8], async () => (await word(page)) === 'PAID');
});

await test('a receipt is printed with a bar code that scanners read, and scanned to give money back', async () => {
  const { page } = till;
  await amount(page, '800');
  await page.keyboard.press('Enter');
  await comesToTerminal(people[9], async () => (await word(page)) === 'PAID');
  const [{ receipt }] = await charges(800);
  await page.evaluate(() => { globalThis.print = () => { globalThis.printed = (globalThis.printed ?? 0) + 1; }; });
  await page.keyboard.press('F9');
  await until('printed', () => page.evaluate(() => globalThis.printed === 1));
  await page.emulateMedia({ media: 'print' });
  await page.locator('article.receipt').first().waitFor();
  await page.screenshot({ path: `${site.artefacts}/till-receipt-print.png` });
  await page.emulateMedia({ media: 'screen' });

  await scan(page, receipt);
  await page.getByRole('heading', { name: 'Receipts and refunds' }).waitFor();
  await page.locator('article.receipt').waitFor();
  await till.look('till-receipt');
  await page.locator('article.receipt svg').screenshot({ path: `${site.artefacts}/till-barcode.png` });
  writeFileSync(`${site.artefacts}/till-barcode.txt`, receipt);
  const before = await balance(people[9]);
  await page.locator('#refund').fill('3,00');
  await page.getByRole('button', { name: 'Refund €3.00' }).dblclick();
  await page.getByText('Given back: €3.00').waitFor();
  assert.equal(await balance(people[9]), before + 300);
  assert.equal(await page.locator('#refund').inputValue(), '', 'a press in haste gives back nothing');
  await till.look('till-refunded');
  await page.locator('#refund').fill('5.01');
  await page.getByText('Type an amount up to €5.00').waitFor();
  assert.ok(await page.getByRole('button', { name: /^Refund/ }).isDisabled());
  // The rest, by number typed by hand; the first answer is lost, the second press is the same refund.
  await page.locator('#number').fill(receipt);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Refund €5.00' }).waitFor();
  await page.route('**/v1/refunds', async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await page.getByRole('button', { name: 'Refund €5.00' }).click();
  await page.getByText('press again').waitFor();
  await till.look('till-refund-no-answer');
  await page.getByRole('button', { name: 'Refund €5.00' }).click();
  // To the letter: the page also says how much can be given back.
  await page.getByText('Given back: €5.00', { exact: true }).waitFor();
  assert.equal(await balance(people[9]), before + 800);
  await page.locator('#number').fill('9-99-9');
  await page.keyboard.press('Enter');
  await page.getByText('no such receipt').waitFor();
  await till.look('till-no-receipt');
  await page.keyboard.press('F2');
});

await test('a scanner in the receipts presses no button: it finds the receipt', async () => {
  const { page } = till;
  const before = await balance(people[1]);
  const receipts = [];
  for (const digits of ['811', '812']) {
    await amount(page, digits);
    await page.keyboard.press('Enter');
    await comesToTerminal(people[1], async () => (await word(page)) === 'PAID');
    receipts.push((await charges(Number(digits)))[0].receipt);
  }
  await scan(page, receipts[0]);
  const refund = page.getByRole('button', { name: 'Refund €8.11' });
  await refund.waitFor();
  await refund.focus();
  await scan(page, receipts[1]);
  await page.getByRole('button', { name: 'Refund €8.12' }).waitFor();
  // The same once more is the same, shown anew.
  await page.locator('#refund').fill('1');
  await page.getByRole('heading', { name: receipts[1] }).focus();
  await scan(page, receipts[1]);
  await page.getByRole('button', { name: 'Refund €8.12' }).waitFor();
  assert.equal(await balance(people[1]), before - 811 - 812);
  // The last receipt that is asked for is the one that is shown, whichever answer comes last.
  let held;
  await page.route(`**/v1/receipts/${receipts[0]}`, (route) => { held = route; }, { times: 1 });
  await page.locator('#number').fill(receipts[0]);
  await page.keyboard.press('Enter');
  await until('the first answer is late', () => held);
  await page.locator('#number').fill(receipts[1]);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Refund €8.12' }).waitFor();
  const late = page.waitForResponse((response) => response.url().endsWith(receipts[0]));
  await held.continue();
  await (await late).finished();
  await page.getByRole('button', { name: 'Refund €8.12' }).waitFor();
  // Enter is heard while money is on its way back, and what came of that is said all the same.
  await page.route('**/v1/refunds', (route) => { held = route; }, { times: 1 });
  held = undefined;
  await page.getByRole('button', { name: 'Refund €8.12' }).click();
  await until('the refund is on its way', () => held);
  await page.locator('#number').fill(receipts[0]);
  await page.keyboard.press('Enter');
  await page.getByText('Can be given back: €8.11').waitFor();
  await held.continue();
  await page.getByText(`Receipt ${receipts[1]}: Given back: €8.12`).waitFor();
  await page.getByText('Can be given back: €8.11').waitFor();
  assert.equal(await balance(people[1]), before - 811);
  await page.keyboard.press('Escape');
});

await test('what a payer has asked back at the terminal is decided here', async () => {
  const { page } = till;
  const who = people[2];
  const before = await balance(who);
  for (const [digits, button, words, after] of [['821', 'Keep it', 'Kept. The payment stands', 821], ['822', 'Give it back', 'Given back: €8.22', 821]]) {
    await amount(page, digits);
    await page.keyboard.press('Enter');
    await comesToTerminal(who, async () => (await word(page)) === 'PAID');
    const [{ id }] = await charges(Number(digits));
    await operator('POST', `/v1/payments/${id}/undo`, { account: who.account }, 201);
    await page.keyboard.press('F2');
    await page.getByRole('heading', { name: 'Asked back by payers' }).waitFor();
    await page.getByRole('button', { name: /asked back/ }).first().click();
    await page.getByText('asked for €8.2').waitFor();
    if (digits === '821') await till.look('till-asked-back');
    assert.equal(await page.locator('#refund').count(), 0, 'one way to give it back at a time');
    await page.getByRole('button', { name: button }).click();
    await page.getByText(words).waitFor();
    assert.equal(await balance(who), before - after);
    await page.keyboard.press('Escape');
  }
});

await test('a payment of today is cancelled as a whole', async () => {
  const { page } = till;
  const before = await balance(ada);
  await amount(page, '801');
  await page.keyboard.press('Enter');
  await comesToTerminal(ada, async () => (await word(page)) === 'PAID');
  await page.keyboard.press('F2');
  await page.getByRole('button', { name: /€8.01/ }).first().click();
  await page.getByRole('button', { name: 'Cancel the whole payment' }).click();
  await till.look('till-reversal');
  await page.getByRole('button', { name: 'Yes, cancel it' }).click();
  await page.getByText('Cancelled. €8.01 went back.').waitFor();
  assert.equal(await balance(ada), before);
  await page.keyboard.press('Escape');
});

await test('both languages and a phone’s size, and hostile names are text', async () => {
  const { page } = till;
  await page.getByRole('button', { name: '中文' }).click();
  await says(page, '已付款');
  await page.keyboard.press('Escape');
  await says(page, '就绪');
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-CN');
  await amount(page, '1250');
  await page.keyboard.press('NumpadAdd');
  await amount(page, '80');
  await till.look('till-amount-zh');
  await page.keyboard.press('Enter');
  await till.look('till-waiting-zh');
  await page.setViewportSize({ width: 390, height: 844 });
  await till.look('till-phone-waiting-zh');
  await comesToTerminal(ben, async () => (await word(page)) === '已付款');
  await till.look('till-phone-paid-zh');
  await page.getByRole('button', { name: 'English' }).click();
  await page.locator('.main').click();
  await amount(page, '4401');
  await till.look('till-phone-amount');
  await page.keyboard.press('Enter');
  await comesToTerminal(ben, async () => (await word(page)) === 'NOT PAID');
  await till.look('till-phone-declined');
  await page.keyboard.press('F4');
  await page.getByRole('button', { name: /Receipts/ }).click();
  await till.look('till-phone-receipts');
  await page.setViewportSize({ width: 1024, height: 768 });
  await page.keyboard.press('F2');
  assert.equal(await page.locator('img').count(), 0);
});

await test('nobody there: asked first, then signed out, and the sale is still there after signing in again', async () => {
  const { page } = till;
  await page.clock.install();
  await page.reload();
  await says(page, 'Ready');
  await page.keyboard.press('9');
  await page.clock.fastForward('29:30');
  await page.getByText('Is somebody there?').waitFor();
  await till.look('till-idle');
  await page.getByRole('button', { name: 'Stay signed in' }).click();
  await page.getByText('Is somebody there?').waitFor({ state: 'hidden' });
  await page.clock.fastForward('30:10');
  await page.getByText('because nobody used this page').waitFor();
  await till.look('till-signed-out');
  const cookies = await till.context.cookies();
  assert.deepEqual(cookies.filter(({ name }) => name === 'selfsame-till'), []);
});

await test('what the server ends, the page tells, too', async () => {
  const other = await Staff.at('till', { width: 390, height: 844, language: 'zh-CN' });
  await other.look('till-phone-sign-in-zh');
  await other.signIn(site.merchantKey);
  await operator('POST', '/v1/test-clock/advance', { seconds: 1801 }, 200);
  await other.page.getByRole('button', { name: /小票/ }).click();
  await other.page.locator('#key').waitFor();
  await other.end();
});

await till.end();
await pause(0);
await close();
