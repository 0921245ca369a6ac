// The time as a state, for everything that shows a clock: whoever reads it follows it.

const TICK_MS = 250;

let time = $state(Date.now());

if (typeof window !== 'undefined') setInterval(() => { time = Date.now(); }, TICK_MS);

/** Milliseconds since 1970, a quarter of a second old at most. */
export const now = (): number => time;

/** Minutes and seconds, e.g. 1:05. */
export function minutes(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** The time of day, on the clock of the till: 14:05. */
export function timeOfDay(at: string, tag: string): string {
  return new Intl.DateTimeFormat(tag, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(new Date(at));
}

export const sleep = (ms: number): Promise<void> => new Promise((done) => { setTimeout(done, ms); });
