// The time, for what counts down.

class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => { this.now = Date.now(); }, 250);
  }

  /** Whole seconds until a point in time, 0 when it has passed. */
  secondsUntil(at: string | undefined): number | undefined {
    return at === undefined ? undefined : Math.max(0, Math.ceil((Date.parse(at) - this.now) / 1000));
  }
}

export const clock = new Clock();
