// One sale after the other: the amount, the order's reference, the charge, and what is certain about it. The reference is
// made and kept before anything is sent, so that whatever happens (a reload, a second tab, a lost answer) the same order
// is asked for again and pays at most once.

import type { Payment } from '../api/server';
import { Refused } from '../shared/http';
import { sleep } from '../staff/clock.svelte';
import { DIGITS_MAX, minorOfDigits } from '../staff/amount';
import { isOpen, newReference, type Server } from '../staff/server.svelte';
import { read, write } from '../staff/stored';
import type { Code, Payer } from './payer.svelte';

/** Pause between two questions for an order: at first, and at most. */
const ASK_MS_FIRST = 300;
const ASK_MS_MAX = 2_000;

/** Longest wait for the answer to a charge. The server answers within two seconds. */
const CHARGE_MS_MAX = 4_000;

/** How often it is looked whether a payer who was asked at the terminal has agreed. */
const CONFIRM_LOOK_MS = 600;

/** A code that is as old as this is not sent any more when a newer one can be had. Codes live a minute. */
const CODE_FRESH_MS = 45_000;

/** Orders that have still to be made unpaid, because the server was away. */
const TO_REVERSE_MAX = 50;

/** Most items of one order. */
const ITEMS_MAX = 200;

/** What is kept of an order in the middle. */
interface StoredOrder {
  ref: string;
  minor: number;
  currency: string;
  items: number[];
  /** Whether it may have reached the server. */
  sent: boolean;
  requestId: string | null;
}

/** Why an order is not paid, in the server's words. */
export interface Refusal {
  code: string;
  declineCode: string | null;
  detail: string | null;
  /** Whether the same order can be tried again. */
  again: boolean;
}

export type Phase =
  /** The amount is typed. */
  | { kind: 'order' }
  /** The amount is there; a code is not. */
  | { kind: 'payer'; since: number; note: Refusal | null }
  /** A charge is on its way. */
  | { kind: 'charging'; since: number }
  /** The payer has to agree at the terminal. */
  | { kind: 'confirm'; since: number; payment: Payment }
  /** It is not known whether it is paid: it is being asked. */
  | { kind: 'asking'; since: number }
  | { kind: 'paid'; payment: Payment; since: number }
  | { kind: 'refused'; refusal: Refusal; since: number }
  /** Made certain that it is not paid here. `sure` once the server has said so. */
  | { kind: 'other'; minor: number; sure: boolean };

export class Sale {
  items = $state<number[]>([]);
  digits = $state('');
  phase = $state<Phase>({ kind: 'order' });
  /** A scan that was no payment code. */
  misread = $state<string | null>(null);
  toReverse = $state<string[]>([]);
  order = $state<StoredOrder | null>(null);
  /** The last payment here, whose receipt can be printed. */
  last = $state<Payment | null>(null);
  #code = $state.raw<Code | null>(null);
  /** Raised by every new turn of events: loops of an earlier one end. */
  #turn = 0;
  #before = { digits: '', phase: 'order' };
  #payer: Payer | null = null;

  constructor(private readonly server: Server) {}

  /** With the payer at this till's terminal. */
  attach(payer: Payer): void { this.#payer = payer; }

  get decimals(): number { return this.server.signedIn?.currency_decimals ?? 2; }
  get currency(): string { return this.order?.currency ?? this.server.signedIn?.currency ?? 'EUR'; }
  get typed(): number { return minorOfDigits(this.digits); }
  get total(): number { return this.order?.minor ?? this.items.reduce((sum, item) => sum + item, 0) + this.typed; }
  get hasCode(): boolean { return this.#code !== null; }
  get isFree(): boolean { return this.phase.kind === 'order' || this.phase.kind === 'paid' || this.phase.kind === 'other'; }
  get isTooMuch(): boolean { return this.total > (this.server.signedIn?.amount_minor_max ?? Infinity); }

  #key(name: string): string { return `till.${this.server.signedIn?.merchant ?? ''}.${name}`; }

  /** After signing in or taking the till over: goes on where this till was, whoever had it open. */
  resume(): void {
    this.#turn += 1;
    this.toReverse = read<string[]>(this.#key('to_reverse')) ?? [];
    this.order = read<StoredOrder>(this.#key('order'));
    if (this.toReverse.length > 0) void this.#reverseQueued();
    if (!this.order) {
      if (!this.isFree) this.phase = { kind: 'order' };
      return;
    }
    this.items = this.order.items;
    this.digits = '';
    this.#payer?.ask(this.order.requestId);
    if (this.order.sent) this.#ask();
    else this.#wait(null);
  }

  /** Another tab is the till now: nothing goes on here. What is stored is left to it. */
  suspend(): void {
    this.#turn += 1;
    this.#code = null;
    this.order = null;
    this.phase = { kind: 'order' };
    this.items = [];
    this.digits = '';
    this.#payer?.finish();
  }

  // -- the amount

  digit(digit: string): void {
    this.#clearForNext();
    if (this.phase.kind !== 'order' || !/^\d+$/.test(digit)) return;
    const digits = (this.digits + digit).replace(/^0+/, '');
    if (digits.length > DIGITS_MAX) return;
    this.digits = digits;
    this.misread = null;
    // The payer is verified beside the order, and not after it.
    if (this.total > 0) this.#payer?.ask();
  }

  back(): void {
    if (this.phase.kind !== 'order') return;
    if (this.digits !== '') this.digits = this.digits.slice(0, -1);
    else this.items = this.items.slice(0, -1);
  }

  addItem(): void {
    if (this.phase.kind !== 'order' || this.typed === 0 || this.items.length >= ITEMS_MAX) return;
    this.items = [...this.items, this.typed];
    this.digits = '';
  }

  /** What a scan may turn out to have typed is taken back to here. */
  mark(): void { this.#before = { digits: this.digits, phase: this.phase.kind }; }

  rollback(): void {
    if (this.phase.kind === 'order') this.digits = this.#before.phase === 'order' ? this.#before.digits : '';
  }

  /** Nothing was sent yet: the order is given up without asking anybody. */
  clear(): void {
    if (this.phase.kind === 'order' || this.phase.kind === 'paid' || this.phase.kind === 'other') {
      this.#reset();
      this.#payer?.forget();
      this.#code = null;
    } else if (this.phase.kind === 'payer' && this.order && !this.order.sent) {
      // The amount comes back, so that it can be corrected.
      const { items, minor } = this.order;
      const listed = items.reduce((sum, item) => sum + item, 0);
      this.#turn += 1;
      this.#store(null);
      this.items = items;
      this.digits = minor > listed ? String(minor - listed) : '';
      this.phase = { kind: 'order' };
    }
  }

  // -- the charge

  /** A payment code came, by scanner or by hand. */
  take(digits: string): void {
    this.misread = null;
    this.#clearForNext();
    this.#code = { digits, at: Date.now() };
    if (this.phase.kind === 'refused' && this.phase.refusal.again) this.#wait(null);
    this.advance();
  }

  /** Enter: the amount is complete, or what was refused is tried again, or the next sale begins. */
  enter(): void {
    const { phase } = this;
    if (phase.kind === 'order') {
      if (this.total === 0 || this.isTooMuch || !this.server.signedIn) return;
      const { total: minor, currency } = this;
      const items = this.typed > 0 && this.items.length > 0 ? [...this.items, this.typed] : this.items;
      const requestId = this.#payer?.requestId ?? null;
      this.#store({ ref: newReference('T'), minor, currency, items, sent: false, requestId });
      this.#wait(null);
    } else if (phase.kind === 'refused') this.again();
    else if (phase.kind === 'payer' && this.#payer?.terminal && !this.#payer.isAsked) {
      // A pass whose code could not be had is asked for it once more; one that the terminal refuses is over.
      if (this.#payer.passed && this.#payer.trouble !== 'refused') this.advance();
      else this.#askPayer();
    }
    else if (phase.kind === 'paid' || phase.kind === 'other') this.#reset();
  }

  /** Tries the same order again: with the same code, or a new one of the same pass. No second scan. */
  again(): void {
    if (this.phase.kind !== 'refused') return;
    const { refusal } = this.phase;
    if (!refusal.again && this.order) {
      // This reference is used up; the amount is not.
      this.#store({ ...this.order, ref: newReference('T'), sent: false });
      this.#code = null;
    }
    this.#wait(null);
  }

  /** Something happened: a code is there, the payer has passed, or the terminal answered. */
  advance(): void {
    if (this.phase.kind !== 'payer' || !this.order) return;
    const fresh = this.#code !== null && (Date.now() - this.#code.at < CODE_FRESH_MS || !this.#payer?.passed);
    if (fresh) void this.#charge();
    else if (this.#payer?.passed) void this.#handOver();
  }

  #wait(note: Refusal | null): void {
    this.#turn += 1;
    this.phase = { kind: 'payer', since: Date.now(), note };
    const payer = this.#payer;
    if (payer && this.#code === null && (payer.requestId === null || payer.hasFailed)) this.#askPayer();
    this.advance();
  }

  #askPayer(): void {
    const payer = this.#payer;
    if (!payer?.terminal) return;
    if (payer.requestId === null) payer.ask();
    else payer.again();
    if (this.order) this.#store({ ...this.order, requestId: payer.requestId });
  }

  /** Another payer, or the same once more. */
  askPayerAgain(): void {
    if (this.phase.kind === 'order' && this.total > 0) this.#payer?.again();
    else if (this.phase.kind === 'payer') this.#askPayer();
  }

  async #handOver(): Promise<void> {
    const turn = ++this.#turn;
    let code = await this.#payer?.handOver();
    while (!code && this.#payer?.isPassing && turn === this.#turn) {
      void this.server.look();
      await sleep(ASK_MS_MAX);
      if (turn === this.#turn) code = await this.#payer.handOver();
    }
    if (turn !== this.#turn || this.phase.kind !== 'payer' || !code) return;
    this.#code = code;
    void this.#charge();
  }

  async #charge(): Promise<void> {
    const { order } = this;
    const code = this.#code;
    if (!order || !code) return;
    const turn = ++this.#turn;
    const since = this.phase.kind === 'asking' ? this.phase.since : Date.now();
    if (this.phase.kind !== 'asking') this.phase = { kind: 'charging', since };
    // Kept before it is sent: from here on only the server knows.
    this.#store({ ...order, sent: true });
    const body = { order_ref: order.ref, code: code.digits, amount: { minor: order.minor, currency: order.currency } };
    try {
      const payment = await this.server.call('POST /v1/payments', { body, timeoutMs: CHARGE_MS_MAX });
      if (turn === this.#turn) this.#told(payment);
    } catch (error) {
      if (turn === this.#turn) this.#failed(error, since);
    }
  }

  #told(payment: Payment): void {
    switch (payment.status) {
      case 'succeeded': return this.#paid(payment);
      case 'requires_action': {
        if (this.phase.kind !== 'confirm') {
          this.phase = { kind: 'confirm', since: Date.now(), payment };
          this.#ask(CONFIRM_LOOK_MS);
        }
        return;
      }
      case 'expired': return this.#refuse({ code: 'payment_expired', declineCode: null, detail: null, again: false });
      case 'reversed': return this.#refuse({ code: 'order_reversed', declineCode: null, detail: null, again: false });
      default: return this.#refuse({ code: 'order_closed', declineCode: null, detail: null, again: false });
    }
  }

  #paid(payment: Payment): void {
    this.#turn += 1;
    this.#code = null;
    this.last = payment;
    this.#store(null);
    this.#payer?.finish();
    this.phase = { kind: 'paid', payment, since: Date.now() };
  }

  #refuse(refusal: Refusal): void {
    this.#turn += 1;
    this.phase = { kind: 'refused', refusal, since: Date.now() };
  }

  #failed(error: unknown, since: number): void {
    if (isOpen(error) || (error instanceof Refused && error.status === 401)) {
      this.phase = { kind: 'asking', since };
      return this.#ask();
    }
    if (!(error instanceof Refused)) throw error;
    const { code, problem } = error;
    const detail = problem.detail ?? problem.title ?? null;
    const refusal = { code, declineCode: problem.decline_code ?? null, detail, again: true };
    if (code === 'payment_declined') return this.#refuse(refusal);
    if (code.startsWith('code_')) {
      // Another reading or a new code may still pay. One of the terminal's that is too old is replaced at once.
      const ours = this.#code;
      this.#code = null;
      const isOld = code === 'code_expired' || code === 'code_revoked';
      if (isOld && this.#payer?.passed && ours && Date.now() - ours.at >= CODE_FRESH_MS / 2) return this.#wait(null);
      return this.#payer?.terminal ? this.#refuse(refusal) : this.#wait(refusal);
    }
    if (code === 'order_reversed' || code === 'order_closed' || code === 'reference_conflict' || code === 'payment_expired') {
      return this.#refuse({ ...refusal, again: false });
    }
    this.#refuse(refusal);
  }

  /** Asks by the reference until the answer is certain. Never sends a new reference. */
  #ask(firstMs = ASK_MS_FIRST): void {
    const turn = ++this.#turn;
    if (this.phase.kind !== 'asking' && this.phase.kind !== 'confirm') this.phase = { kind: 'asking', since: Date.now() };
    void (async () => {
      let pauseMs = firstMs;
      while (turn === this.#turn && this.order) {
        await sleep(pauseMs);
        // Whoever is signed out is asked for the key first.
        if (turn !== this.#turn || !this.order || !this.server.signedIn) return;
        try {
          const payment = await this.server.call('GET /v1/payments', { query: { order_ref: this.order.ref } });
          if (turn !== this.#turn) return;
          this.#told(payment);
          if (turn !== this.#turn) return;
        } catch (error) {
          if (turn !== this.#turn) return;
          if (error instanceof Refused && error.status === 404) {
            // Not paid so far. The same order again is safe: by its reference it pays at most once.
            return this.#code ? void this.#charge() : this.#wait(null);
          }
          if (error instanceof Refused && error.code === 'order_reversed') return this.#failed(error, Date.now());
          if (error instanceof Refused && error.status === 401) return;
          if (this.phase.kind === 'confirm') this.phase = { kind: 'asking', since: Date.now() };
        }
        pauseMs = this.phase.kind === 'confirm' ? CONFIRM_LOOK_MS : Math.min(pauseMs * 2, ASK_MS_MAX);
      }
    })();
  }

  // -- not paid here

  /** The payer pays otherwise: from now on this order is never paid, also if a charge is still on its way. */
  other(): void {
    if (this.isFree && this.phase.kind !== 'order') return;
    if (this.phase.kind === 'order') {
      if (this.total > 0) this.#ended(this.total, true);
      return;
    }
    const { order } = this;
    if (!order) return;
    if (order.sent) {
      this.toReverse = [...this.toReverse, order.ref].slice(-TO_REVERSE_MAX);
      write(this.#key('to_reverse'), this.toReverse);
    }
    this.#ended(order.minor, !order.sent);
    void this.#reverseQueued();
  }

  #ended(minor: number, sure: boolean): void {
    this.#turn += 1;
    this.#code = null;
    this.#store(null);
    this.#payer?.forget();
    this.items = [];
    this.digits = '';
    this.phase = { kind: 'other', minor, sure };
  }

  #reversing = false;

  async #reverseQueued(): Promise<void> {
    if (this.#reversing) return;
    this.#reversing = true;
    let pauseMs = ASK_MS_FIRST;
    while (this.toReverse.length > 0 && this.server.signedIn) {
      const [order_ref = ''] = this.toReverse;
      try {
        await this.server.call('POST /v1/reversals', { body: { order_ref } });
      } catch (error) {
        if (isOpen(error) || (error instanceof Refused && error.status === 401)) {
          await sleep(pauseMs);
          pauseMs = Math.min(pauseMs * 2, ASK_MS_MAX);
          continue;
        }
        // Definite, too: e.g. of an earlier business day.
      }
      this.toReverse = this.toReverse.filter((ref) => ref !== order_ref);
      write(this.#key('to_reverse'), this.toReverse.length > 0 ? this.toReverse : null);
      if (this.phase.kind === 'other' && this.toReverse.length === 0) this.phase = { ...this.phase, sure: true };
    }
    this.#reversing = false;
  }

  // -- the next one

  #clearForNext(): void {
    if (this.phase.kind === 'paid' || this.phase.kind === 'other') this.#reset();
  }

  #reset(): void {
    this.#turn += 1;
    this.items = [];
    this.digits = '';
    this.misread = null;
    this.#store(null);
    this.phase = { kind: 'order' };
  }

  #store(order: StoredOrder | null): void {
    this.order = order;
    write(this.#key('order'), order);
  }
}
