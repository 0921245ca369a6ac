// The payment server as a page of staff meets it: calls with the page's sign-in, whether the server is there, and
// whether somebody is signed in.

import type { Operations, SignedIn } from '../api/server';
import { client, NoAnswer, Refused } from '../shared/http';
import { now, sleep } from './clock.svelte';

export type Page = 'till' | 'desk';

/** Pause between two looks at whether a server that was away is back, and at whether one that was there still is. */
const AWAY_LOOK_MS = 1_000;
const THERE_LOOK_MS = 5_000;

/** Longest wait for such a look, in milliseconds. */
const LOOK_MS_MAX = 2_500;

/** How long before the end of an idle sign-in the page asks whether somebody is there. */
const ASK_MS = 60_000;

/** How often use of the page is passed on to the server, whose own calls may be rare. */
const USE_MS = 60_000;

type Call = ReturnType<typeof client<Operations>>;

export class Server {
  /** Since when the server has not answered. */
  awaySince = $state<number | null>(null);
  /** Who is signed in; `undefined` until it is known. */
  signedIn = $state<SignedIn | null | undefined>(undefined);
  /** Why nobody is any more. */
  ended = $state<'idle' | 'elsewhere' | null>(null);
  /** When somebody used the page last. */
  usedAt = $state(Date.now());
  #toldAt = 0;
  readonly #client: Call;

  constructor(readonly page: Page) {
    this.#client = client<Operations>('', { 'selfsame-page': page });
  }

  /** Calls an operation. Silence marks the server as away, 401 ends the sign-in. */
  readonly call: Call = async (operation, options) => {
    try {
      const answer = await this.#client(operation, options);
      this.awaySince = null;
      return answer;
    } catch (error) {
      if (error instanceof NoAnswer && !options?.signal?.aborted) this.awaySince ??= Date.now();
      if (error instanceof Refused) {
        this.awaySince = null;
        if (error.status === 401 && this.signedIn) {
          this.ended = now() - this.usedAt + ASK_MS >= this.signedIn.idle_seconds * 1000 ? 'idle' : 'elsewhere';
          this.signedIn = null;
        }
      }
      throw error;
    }
  };

  /** Finds out who is signed in, and looks after the connection from then on. */
  async start(): Promise<void> {
    void this.#lookAfterIt();
    while (this.signedIn === undefined) {
      try {
        this.signedIn = await this.call('GET /v1/sign-in');
      } catch (error) {
        if (error instanceof Refused && error.status < 500) this.signedIn = null;
        else await sleep(AWAY_LOOK_MS);
      }
    }
  }

  async signIn(key: string): Promise<void> {
    this.signedIn = await this.call('POST /v1/sign-in', { body: { key } });
    this.ended = null;
    this.used();
  }

  async signOut(why: 'idle' | null = null): Promise<void> {
    this.signedIn = null;
    this.ended = why;
    // A server that is away ends it by itself, because nobody uses it.
    await this.call('DELETE /v1/sign-in').catch(() => undefined);
  }

  /** Somebody touched the page. */
  used(): void {
    this.usedAt = Date.now();
    if (!this.signedIn || this.usedAt - this.#toldAt < USE_MS) return;
    this.#toldAt = this.usedAt;
    void this.call('GET /v1/sign-in').catch(() => undefined);
  }

  /** Milliseconds until an unused sign-in ends; `null` while that is far away. */
  get endsInMs(): number | null {
    if (!this.signedIn) return null;
    const idle = this.usedAt + this.signedIn.idle_seconds * 1000 - now();
    const left = Math.min(idle, Date.parse(this.signedIn.ends_at) - now());
    return left <= ASK_MS ? Math.max(0, left) : null;
  }

  /** Somebody is there after all. */
  async stay(): Promise<void> {
    this.#toldAt = 0;
    this.used();
  }

  /** Looks whether the server is there. */
  async look(): Promise<void> {
    await this.call('GET /livez', { timeoutMs: LOOK_MS_MAX }).catch(() => undefined);
  }

  async #lookAfterIt(): Promise<never> {
    for (;;) {
      await sleep(this.awaySince === null ? THERE_LOOK_MS : AWAY_LOOK_MS);
      await this.look();
    }
  }
}

/** Whether a refusal or silence says nothing for certain: the same may work later. */
export function isOpen(error: unknown): boolean {
  return error instanceof NoAnswer || (error instanceof Refused && (error.status >= 500 || error.status === 408));
}

/** A reference that nobody made before: what it is for, the day, and 60 random bits. */
export function newReference(kind: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const random = Array.from(bytes, (byte) => (byte % 32).toString(32)).join('');
  return `${kind}-${new Date().toISOString().slice(0, 10)}-${random}`;
}
