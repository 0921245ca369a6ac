// The terminal at this till: its verification interface on a loopback port or on the LAN, where this page is a paired
// register (docs/reach.md).

import type { Operations, TerminalStatus } from '../api/terminal';
import { client, Refused } from '../shared/http';
import { read, write } from '../staff/stored';

const STORED = 'till.terminal';

/** Longest wait for a terminal's answer; a hand-over takes two seconds at most, and asks the server twice. */
export const TERMINAL_MS_MAX = 9_000;

/** A terminal with which this browser is paired. The token asks for verifications and moves no money. */
export interface PairedTerminal {
  origin: string;
  token: string;
  modality: 'finger' | 'face';
}

export const storedTerminal = (): PairedTerminal | null => read<PairedTerminal>(STORED);

export const storeTerminal = (terminal: PairedTerminal | null): void => write(STORED, terminal);

export const terminalClient = (terminal: Pick<PairedTerminal, 'origin' | 'token'>) =>
  client<Operations>(terminal.origin, { authorization: `Bearer ${terminal.token}` });

/** Which of these addresses a terminal answers at. */
export async function findTerminals(origins: readonly string[]): Promise<string[]> {
  const answers = origins.map(async (origin) => {
    try {
      await client<Operations>(origin)('GET /v1/terminal', { timeoutMs: 2_000 });
      return origin;
    } catch (error) {
      // It asks for a token: it is one.
      return error instanceof Refused && error.status === 401 ? origin : null;
    }
  });
  return (await Promise.all(answers)).filter((origin) => origin !== null);
}

/** Asks to be let in; the terminal shows a code then. */
export const askToPair = (origin: string, name: string) =>
  client<Operations>(origin)('POST /v1/pairings', { body: { name } });

/** Brings the code, and keeps the token. */
export async function pair(origin: string, pairing: string, code: string): Promise<PairedTerminal> {
  const { token } = await client<Operations>(origin)('POST /v1/pairings/{id}/complete', { path: { id: pairing }, body: { code } });
  const status: TerminalStatus = await terminalClient({ origin, token })('GET /v1/terminal');
  const modality = status.modalities.includes('face') ? 'face' : 'finger';
  const terminal = { origin, token, modality } as const;
  storeTerminal(terminal);
  return terminal;
}
