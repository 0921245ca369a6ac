// Speaks what the payer has to do, for those who want that: off until somebody turns it on, and off again for the next
// payer. Digits and names are never spoken.

import { language } from '../shared/i18n.svelte';

class Voice {
  on = $state(false);
  #last = '';

  toggle(): void {
    this.on = !this.on;
    if (!this.on) this.reset();
  }

  reset(): void {
    this.on = false;
    this.#last = '';
    if ('speechSynthesis' in window) speechSynthesis.cancel();
  }

  say(text: string): void {
    if (!this.on || text === this.#last || !('speechSynthesis' in window)) return;
    this.#last = text;
    const words = new SpeechSynthesisUtterance(text);
    words.lang = language();
    speechSynthesis.cancel();
    speechSynthesis.speak(words);
  }
}

export const voice = new Voice();
