import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KioskSession, KioskView } from '../../src/api/kiosk';
import { isComplete, isEnough, typed } from '../../src/kiosk/entry';
import { idle, isOver, paidStaysMs, showing, STAYS_MS, wanted, type Screen } from '../../src/kiosk/screen';

const VIEW: KioskView = { terminal: 'trm_1', state: 'ready', language: 'en', modalities: ['finger', 'face'], has_own_camera: false };

const SESSION: KioskSession = {
  id: 'ses_1', modality: 'face', state: 'waking', may_have_more_time: false, hand_over_here: false,
};

const screenOf = (session: Partial<KioskSession>): Screen => wanted({ ...VIEW, session: { ...SESSION, ...session } });

const passed = (more: Partial<KioskSession>): Screen => screenOf({ state: 'done', outcome: 'passed', ...more });

type Payment = NonNullable<KioskSession['payment']>;

const payment = (status: Payment['status'], more: Partial<Payment> = {}): Payment =>
  ({ status, merchant_name: 'Canteen', amount: { minor: 1250, currency: 'EUR' }, gesture_confirms: false, returned: false, may_ask_back: false, asked_back: false, ...more });

const paid = (status: Payment['status'], more?: Partial<Payment>): Screen => passed({ payment: payment(status, more) });

const handed = (register: 'keyboard' | 'screen' | 'return', state: 'sending' | 'sent' | 'failed' | 'uncertain'): Screen =>
  passed({ handover: { register, state, expires_at: '2026-11-25T12:00:00.000Z' } });

test('a payer is led from the first digit to the end', () => {
  assert.equal(wanted(VIEW), 'attract');
  assert.equal(screenOf({}), 'working');
  assert.equal(screenOf({ state: 'awaiting_identifier' }), 'identifier');
  assert.equal(screenOf({ state: 'capturing' }), 'align');
  assert.equal(screenOf({ state: 'capturing', modality: 'finger' }), 'touch');
  assert.equal(screenOf({ state: 'awaiting_pin' }), 'pin');
  assert.equal(screenOf({ state: 'verifying' }), 'working');
});

test('every outcome has its screen', () => {
  const ends = { declined: 'declined', canceled: 'canceled', timed_out: 'timed_out', failed: 'failed', unknown: 'failed' } as const;
  for (const [outcome, screen] of Object.entries(ends)) {
    assert.equal(screenOf({ state: 'done', outcome: outcome as keyof typeof ends }), screen);
  }
  assert.equal(passed({}), 'passed');
  assert.equal(passed({ hand_over_here: true }), 'hand_over');
  assert.equal(passed({ cancel: 'in_time' }), 'canceled');
});

test('what is said of a code is what is known of it', () => {
  assert.equal(handed('keyboard', 'sending'), 'sending');
  assert.equal(handed('keyboard', 'sent'), 'sent');
  assert.equal(handed('screen', 'sent'), 'code');
  assert.equal(handed('return', 'sent'), 'passed');
  assert.equal(handed('keyboard', 'failed'), 'not_sent');
  assert.equal(handed('keyboard', 'uncertain'), 'not_sent');
});

test('the payment goes before everything else', () => {
  assert.equal(paid('requires_action'), 'confirm');
  assert.equal(paid('succeeded'), 'paid');
  assert.equal(paid('succeeded', { may_ask_back: true }), 'paid');
  assert.equal(paid('succeeded', { returned: true }), 'undone');
  assert.equal(paid('succeeded', { asked_back: true }), 'asked_back');
  assert.equal(paid('reversed'), 'undone');
  assert.equal(paid('expired'), 'unpaid');
  assert.equal(paid('pending'), 'pending');
});

test('whoever has something to decide has longer to read', () => {
  const [plain, asking, undo] = [{}, { may_ask_back: true }, { undo_until: '2026-11-25T12:00:00.000Z' }].map((more) => paidStaysMs(payment('succeeded', more)));
  assert.ok(plain! < asking! && asking! < undo!);
  assert.equal(STAYS_MS.paid, undefined, 'there is one place that says it');
});

test('a terminal that takes no request says so', () => {
  for (const state of ['offline', 'maintenance', 'locked'] as const) assert.equal(idle({ ...VIEW, state }), 'out_of_service');
  assert.equal(idle({ ...VIEW, modalities: [] }), 'out_of_service');
  assert.equal(idle({ ...VIEW, state: 'busy' }), 'attract');
});

test('a page that is opened again shows nobody what is over, but everybody what waits', () => {
  const over = (session: Partial<KioskSession>) => isOver({ ...VIEW, session: { ...SESSION, ...session } });
  assert.equal(over({ state: 'done', outcome: 'declined' }), true);
  assert.equal(over({ state: 'done', outcome: 'passed', hand_over_here: true }), false);
  assert.equal(over({ state: 'capturing' }), false);
  const one = showing({ ...VIEW, session: SESSION });
  assert.notEqual(one, showing({ ...VIEW, session: { ...SESSION, id: 'ses_2' } }));
});

test('a field takes what belongs into it and no more', () => {
  assert.equal(typed('phone_last4', '014', '2'), '0142');
  assert.equal(typed('phone_last4', '0142', '3'), '0142');
  assert.equal(typed('phone', '1', 'a'), '1');
  assert.equal(typed('member_number', 'M', '-'), 'M-');
  assert.equal(typed('member_number', '', 'm'), 'M');
  assert.equal(typed('pin', '', 'x'), '');
  assert.ok(isComplete('phone_last4', '0142') && !isComplete('pin', '2580') && isEnough('pin', '2580') && !isEnough('pin', '258'));
});
