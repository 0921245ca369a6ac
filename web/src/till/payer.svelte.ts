// The payer at the terminal of this till, verified beside the order: asked for as soon as the cashier begins, handed over
// when the amount is there. Ends in exactly one outcome, or says why not.

import type { Session, TerminalStatus } from '../api/terminal';
import { NoAnswer, Refused } from '../shared/http';
import { sleep } from '../staff/clock.svelte';
import { newReference } from '../staff/server.svelte';
import { storedTerminal, storeTerminal, terminalClient, TERMINAL_MS_MAX, type PairedTerminal } from './terminal';

/** One long poll, in milliseconds. */
const POLL_MS = 20_000;

/** The terminal lets the payer go when this page has not asked for so long. */
const LEASE_MS = 25_000;

/** Pause before asking a terminal again that is away or busy. */
const PAUSE_MS = 700;

/** How often the terminal is asked how it is while nobody pays. */
const STATUS_MS = 5_000;

/** What keeps the terminal from it: nobody answers; it has no server; another payer; it says no; it knows this till no more. */
export type Trouble = 'away' | 'offline' | 'busy' | 'refused' | 'unpaired';

/** A code, and since when this page has it. It is in memory only. */
export interface Code { digits: string; at: number }

export class Payer {
  terminal = $state<PairedTerminal | null>(storedTerminal());
  status = $state<TerminalStatus | null>(null);
  session = $state<Session | null>(null);
  trouble = $state<Trouble | null>(null);
  detail = $state<string | null>(null);
  /** Names the request; kept with the order, so that a reload finds the same payer again. */
  requestId = $state<string | null>(null);
  /** Raised by every new payer: what an earlier one's calls still answer is nobody's. */
  #turn = 0;

  constructor(private readonly changed: () => void) {
    void this.#watch();
  }

  get passed(): boolean { return this.session?.outcome === 'passed'; }

  /** Whether somebody is being verified, or about to be. */
  get isAsked(): boolean { return this.requestId !== null && this.session?.state !== 'done'; }

  /** Whether the trouble may pass by itself. */
  get isPassing(): boolean { return this.trouble === 'away' || this.trouble === 'offline'; }

  /** Ended without a pass: asking again is possible. */
  get hasFailed(): boolean { return this.session?.state === 'done' && !this.passed; }

  use(terminal: PairedTerminal | null): void {
    this.forget();
    storeTerminal(terminal);
    this.terminal = terminal;
    this.status = null;
    this.trouble = null;
  }

  /** Asks the terminal for a payer, unless one was asked for already. The same request finds the same payer. */
  ask(requestId: string | null = null): void {
    if (!this.terminal || this.requestId !== null) return;
    this.requestId = requestId ?? newReference('V');
    void this.#follow(++this.#turn, this.requestId, this.terminal);
  }

  /** Asks for a payer once more. */
  again(): void {
    this.forget();
    this.ask();
  }

  /** This payer is done, or was none. */
  forget(): void {
    const { session, terminal } = this;
    const isOpen = session !== null && (session.state !== 'done' || session.outcome === 'passed') && session.payment?.status !== 'succeeded';
    this.#turn += 1;
    this.requestId = null;
    this.session = null;
    this.trouble = null;
    this.detail = null;
    if (isOpen && terminal) {
      const cancelled = terminalClient(terminal)('POST /v1/verifications/{id}/cancel', { path: { id: session.id }, body: { reason: 'cashier' } });
      // The lease or the pass runs out by itself.
      cancelled.catch(() => undefined);
    }
  }

  /** The payment is made: nothing is left to cancel. */
  finish(): void {
    this.#turn += 1;
    this.requestId = null;
    this.session = null;
    this.trouble = null;
  }

  /** Has the code handed over, a new one each time. `null` if there is none; `trouble` or the session says why. */
  async handOver(): Promise<Code | null> {
    const { terminal, session } = this;
    if (!terminal || !session || !this.passed) return null;
    const turn = this.#turn;
    const answer = await this.#tried(terminalClient(terminal)('POST /v1/verifications/{id}/handover', {
      path: { id: session.id }, body: { register: 'return' }, timeoutMs: TERMINAL_MS_MAX,
    }));
    if (turn !== this.#turn || !answer) return null;
    this.session = answer;
    this.detail = answer.handover?.detail ?? null;
    const digits = answer.handover?.digits;
    return digits ? { digits, at: Date.now() } : null;
  }

  async #tried<T>(calling: Promise<T>): Promise<T | null> {
    try {
      const answer = await calling;
      this.trouble = null;
      return answer;
    } catch (error) {
      this.detail = error instanceof Refused ? (error.problem.detail ?? error.problem.title ?? null) : null;
      if (error instanceof NoAnswer) this.trouble = 'away';
      else if (error instanceof Refused && error.status === 401) this.trouble = 'unpaired';
      else if (error instanceof Refused && error.code === 'busy') this.trouble = 'busy';
      else if (error instanceof Refused && error.status >= 500 && error.code !== 'terminal_maintenance') this.trouble = 'offline';
      else this.trouble = 'refused';
      return null;
    }
  }

  async #follow(turn: number, requestId: string, terminal: PairedTerminal): Promise<void> {
    const call = terminalClient(terminal);
    const isCurrent = () => turn === this.#turn;
    const show = (session: Session) => {
      this.session = session;
      this.changed();
    };
    while (isCurrent() && !this.session) {
      const request = {
        request_id: requestId, modality: terminal.modality, lease_ms: LEASE_MS,
        handover: { register: 'return', mode: 'on_request' },
      } as const;
      const session = await this.#tried(call('POST /v1/verifications', { body: request }));
      if (!isCurrent()) {
        // Somebody changed their mind meanwhile: nobody is left standing there.
        if (session) call('POST /v1/verifications/{id}/cancel', { path: { id: session.id }, body: { reason: 'cashier' } }).catch(() => undefined);
        return;
      }
      if (session) show(session);
      else if (this.isPassing || this.trouble === 'busy') await sleep(PAUSE_MS);
      else return this.changed();
    }
    while (isCurrent() && this.session && this.session.state !== 'done') {
      const { id, sequence } = this.session;
      const query = { after: String(sequence), wait_ms: String(POLL_MS) };
      const newer = await this.#tried(call('GET /v1/verifications/{id}', { path: { id }, query, timeoutMs: POLL_MS + 5_000 }));
      if (!isCurrent()) return;
      if (newer && newer.sequence !== sequence) show(newer);
      else if (!newer && !this.isPassing) return this.changed();
      else if (!newer) await sleep(PAUSE_MS);
    }
  }

  /** How the terminal is while nobody is verified, so that the cashier knows before a payer is asked to look. */
  async #watch(): Promise<never> {
    for (;;) {
      const { terminal } = this;
      if (terminal && this.requestId === null) {
        const status = await this.#tried(terminalClient(terminal)('GET /v1/terminal', { timeoutMs: 3_000 }));
        if (terminal === this.terminal && this.requestId === null) this.status = status ?? this.status;
      }
      await sleep(STATUS_MS);
    }
  }
}
