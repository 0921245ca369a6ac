import assert from 'node:assert/strict';
import { test } from 'node:test';
import { minorOfText, textOfMinor } from '../../src/staff/amount';
import { code128 } from '../../src/staff/code128';
import { isPaymentCode } from '../../src/staff/damm';
import { receiptLines } from '../../src/till/receipt';

test('amounts are read exactly, with point or comma, and nothing else is', () => {
  const read = ['12.50', '12,5', '7', '0.01', ' 3 '].map((text) => minorOfText(text, 2));
  assert.deepEqual(read, [1250, 1250, 700, 1, 300]);
  for (const text of ['', '0', '0.00', '1.234', '-1', '1e3', '1.2.3', 'x', '1 000', '9999999999']) assert.equal(minorOfText(text, 2), null, text);
  assert.deepEqual([minorOfText('1250', 0), minorOfText('12.5', 0), minorOfText('1.5', 3)], [1250, null, 1500]);
  assert.deepEqual([textOfMinor(5, 2), textOfMinor(1250, 2), textOfMinor(1250, 0), textOfMinor(7, 3)], ['0.05', '12.50', '1250', '0.007']);
});

test('the check digit of a code is the server’s', () => {
  // From the tests of crates/domain/src/payment_code.rs: 572 has the check digit 4.
  const code = '98' + '0'.repeat(12) + '572';
  const [good, ...others] = Array.from({ length: 10 }, (_, digit) => `${code}${digit}`).filter(isPaymentCode);
  assert.ok(good !== undefined && others.length === 0, 'one digit fits');
  const swapped = good.slice(0, 14) + good.charAt(15) + good.charAt(14) + good.slice(16);
  assert.equal(isPaymentCode(swapped), false);
  for (const text of ['', '1', `${good}0`, good.slice(1), good.replace('9', 'x')]) assert.equal(isPaymentCode(text), false, text);
});

test('bar codes have the modules of the standard and refuse what they cannot say', () => {
  const code = code128('0-1234-5');
  // Start, eight characters, check: 11 modules each; stop: 13; quiet zones: 20.
  assert.equal(code?.width, 10 * 11 + 13 + 20);
  assert.deepEqual(code?.bars.slice(0, 3), [{ x: 10, width: 2 }, { x: 13, width: 1 }, { x: 16, width: 1 }]);
  assert.deepEqual([code128(''), code128('中'), code128('\n')], [null, null, null]);
});

test('a receipt is in the language of the page and the time of the place', () => {
  const payment = {
    amount: { minor: 1250, currency: 'EUR' }, created_at: '2026-11-25T23:30:00.000Z', id: 'pay_1', kind: 'charge', paid_minor: 1250,
    receipt: '1-7-3', reference: 'T', returned_minor: 300, frozen_minor: 0, status: 'succeeded', timings: {},
    legs: [{ amount_minor: 1000, part: 'goods' }, { amount_minor: 250, part: 'deposit' }],
  } as const;
  const receipt = { number: '1-7-3', merchant_name: 'Canteen', payment: { ...payment, legs: [...payment.legs] }, text: [] };
  const shown = (tag: 'en' | 'zh-CN', zone: string) => receiptLines(receipt, tag, zone).map(({ label, value }) => `${label}: ${value}`);
  assert.deepEqual(shown('en', 'Europe/Berlin'), [
    'Date: Nov 26, 2026, 00:30', 'Goods: €10.00', 'Deposit: €2.50', 'Payment: €12.50', 'Given back: €3.00', 'Status: paid', 'Receipt: 1-7-3',
  ]);
  assert.deepEqual(shown('zh-CN', 'Asia/Shanghai'), [
    '日期: 2026年11月26日 07:30', '商品: €10.00', '押金: €2.50', '付款: €12.50', '已退: €3.00', '状态: 已付', '小票号: 1-7-3',
  ]);
});
