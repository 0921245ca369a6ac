// One tab is the till. A second one waits, or takes it over.

const LOCK = 'selfsame-till';

export class Tab {
  /** Whether this tab is the till; `undefined` until it is known. */
  isTill = $state<boolean | undefined>(undefined);

  constructor(private readonly taken: () => void, private readonly lost: () => void) {}

  /** Becomes the till if no other tab is, and as soon as none is any more. */
  start(): void {
    if (!navigator.locks) {
      // Without encryption browsers have no locks; the order's reference still lets it pay once at most.
      this.isTill = true;
      return;
    }
    void this.#request({ ifAvailable: true }).then((held) => {
      if (held) return;
      this.isTill = false;
      void this.#request({});
    });
  }

  /** Becomes the till in place of the other tab. */
  takeOver(): void {
    void this.#request({ steal: true });
  }

  /** Answers `false` at once if the lock was not free, else when it is lost. */
  async #request(options: LockOptions): Promise<boolean> {
    try {
      return await navigator.locks.request(LOCK, options, (lock) => {
        if (!lock) return false;
        this.isTill = true;
        this.taken();
        // Held until the tab is closed or another takes over.
        return new Promise<boolean>(() => undefined);
      });
    } catch {
      this.isTill = false;
      this.lost();
      // Back in the queue, for when the other tab is closed.
      void this.#request({});
      return true;
    }
  }
}
