// A call that staff have asked for: one at a time, with words for whatever comes of it.

import { Refused } from '../shared/http';
import { isOpen } from '../staff/server.svelte';

export interface Message { kind: 'good' | 'bad' | 'caution'; text: string }

export class Attempt {
  busy = $state(false);
  message = $state<Message | null>(null);

  constructor(private readonly words: { noAnswer: () => string; failed: (detail: string) => string }) {}

  /** Answers whether it was done. `refused` may have better words for a refusal. */
  async run(work: () => Promise<string | null>, refused: (error: Refused) => string | null = () => null): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.message = null;
    try {
      const text = await work();
      if (text !== null) this.message = { kind: 'good', text };
      return true;
    } catch (error) {
      if (isOpen(error)) this.message = { kind: 'caution', text: this.words.noAnswer() };
      else if (error instanceof Refused) this.message = { kind: 'bad', text: refused(error) ?? this.words.failed(error.message) };
      else throw error;
      return false;
    } finally {
      this.busy = false;
    }
  }
}
