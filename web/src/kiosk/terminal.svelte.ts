// The page's way to its terminal: opened by a key that is used once, then one stream of events and one call for each
// thing that a payer may do. Keeps nothing: the cookie is out of scripts' reach, and everything else is forgotten.

import type { KioskView, Operations } from '../api/kiosk';
import { client, Refused } from '../shared/http';

/** How soon a broken stream is tried again, in milliseconds. */
const AGAIN_MS = 1_000;

/** The stream says something every five seconds. */
export type Connection = 'opening' | 'open' | 'lost' | 'foreign';

export const call = client<Operations>();

class Terminal {
  view = $state.raw<KioskView | undefined>(undefined);
  connection = $state<Connection>('opening');
  #events: EventSource | undefined;

  /** Takes the key out of the address, and connects. */
  async open(): Promise<void> {
    const key = location.hash.slice(1);
    // At once, so that it is neither seen nor kept in the history.
    if (location.hash !== '') history.replaceState(null, '', location.pathname);
    if (key !== '') {
      try {
        await call('POST /v1/kiosk/open', { body: { key } });
      } catch (error) {
        if (error instanceof Refused) {
          this.connection = 'foreign';
          return;
        }
      }
    }
    this.#connect();
  }

  #connect(): void {
    const events = new EventSource('/v1/kiosk/events');
    this.#events = events;
    events.addEventListener('terminal', (event) => {
      this.view = JSON.parse((event as MessageEvent<string>).data) as KioskView;
      this.connection = 'open';
    });
    events.onerror = () => {
      events.close();
      if (this.#events === events) void this.#again();
    };
  }

  /** A stream does not say why it ended. Whoever is no longer the terminal's page is told so. */
  async #again(): Promise<void> {
    if (this.connection !== 'opening') this.connection = 'lost';
    await new Promise((done) => setTimeout(done, AGAIN_MS));
    try {
      const response = await fetch('/v1/kiosk/events', { cache: 'no-store', signal: AbortSignal.timeout(5_000) });
      void response.body?.cancel();
      if (response.status === 401) {
        this.connection = 'foreign';
        this.view = undefined;
        return;
      }
    } catch {
      // It is starting again.
    }
    this.#connect();
  }
}

export const terminal = new Terminal();
