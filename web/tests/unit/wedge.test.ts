import assert from 'node:assert/strict';
import { test } from 'node:test';
import { characterOf, Wedge } from '../../src/till/wedge';

const CODE = '980123456789012345';

interface Typed { amount: string; entered: number; scans: string[] }

/** Keys at times, in milliseconds, as a till takes them. */
function typed(keys: [string, number][]): Typed & { wedge: Wedge } {
  const seen: Typed = { amount: '', entered: 0, scans: [] };
  let before = '';
  const wedge = new Wedge({
    typed: (character) => { seen.amount += character; },
    enter: () => { seen.entered += 1; },
    mark: () => { before = seen.amount; },
    rollback: () => { seen.amount = before; },
    scan: (text) => { seen.scans.push(text); },
  });
  for (const [code, at] of keys) wedge.key(code, at);
  return Object.assign(seen, { wedge });
}

const digits = (text: string, pause: number, from = 0): [string, number][] =>
  Array.from(text, (digit, index) => [digit === '-' ? 'Minus' : `Digit${digit}`, from + index * pause]);

test('digits of a scanner are a scan and no amount, its Enter is no Enter of the cashier', () => {
  const { amount, entered, scans } = typed([...digits('1250', 300), ...digits(CODE, 8, 5_000), ['Enter', 5_000 + 18 * 8]]);
  assert.deepEqual([amount, entered, scans], ['1250', 0, [CODE]]);
});

test('a scanner may be as slow as 83 ms a key, and end with Tab', () => {
  assert.deepEqual(typed([...digits(CODE, 83), ['Tab', 18 * 83]]).scans, [CODE]);
});

test('what somebody types is no scan, also fast, and not a whole code typed slowly', () => {
  const fast = typed([...digits('1250', 60), ['NumpadEnter', 290]]);
  assert.deepEqual([fast.amount, fast.entered, fast.scans], ['1250', 1, []]);
  const slow = typed([...digits(CODE, 120), ['Enter', 18 * 120]]);
  assert.deepEqual([slow.amount, slow.entered, slow.scans], [CODE, 1, []]);
  // Never more than 100 ms apart, but longer than any scan.
  const long = typed([...digits(CODE, 99), ['Enter', 18 * 99]]);
  assert.deepEqual([long.entered, long.scans], [1, []]);
});

test('keys are read by their place, so that layouts and the number pad make no difference', () => {
  assert.deepEqual(['Digit7', 'Numpad7', 'Minus', 'NumpadSubtract', 'KeyA', 'F1'].map(characterOf), ['7', '7', '-', '-', null, null]);
});

test('marks of the symbology are left out, and the number of a receipt is read', () => {
  const aim: [string, number][] = [['BracketRight', 0], ['KeyC', 8], ['Digit0', 16]];
  assert.deepEqual(typed([...aim, ...digits('0-41-3', 8, 24), ['Enter', 80]]).scans, ['0-41-3']);
});

test('a scan without an end is taken when nothing follows', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const seen = typed(digits(CODE, 1));
  assert.deepEqual(seen.scans, []);
  t.mock.timers.tick(500);
  assert.deepEqual([seen.scans, seen.amount], [[CODE], '']);
});
