// Tells a scanner that types from a person who types, by time alone, and reads keys by their place (`event.code`), so
// that no keyboard layout matters. The rules are those of other tills: at most 100 ms between keys, at most 1.5 s in all.

/** Longest pause between two keys of a scanner. */
const PAUSE_MS = 100;

/** Longest scan. */
const SCAN_MS = 1_500;

/** A scanner without a suffix has ended when nothing has come for so long. Longer than a pause, because keys may wait for a
    busy computer; what counts between keys is when they were pressed. */
const SETTLED_MS = 400;

/** What is shorter than this is an amount that somebody types fast. */
const SCAN_CHARS_MIN = 8;

/** Symbology marks that scanners put before the text when they are told to: Code 128 and QR. */
const AIM = /^\](C0|Q1)/;

export interface Handlers {
  /** A digit (or `-`) was pressed. It may turn out to be of a scan: then `rollback` comes. */
  typed: (character: string) => void;
  /** Enter was pressed, and not by a scanner. */
  enter: () => void;
  /** What is typed from now on may be a scan. */
  mark: () => void;
  /** What was typed since `mark` was a scan, and nothing that a person typed. */
  rollback: () => void;
  /** A whole scan. */
  scan: (text: string) => void;
}

/** The character of a key by its place on the keyboard, as far as scanners use it; `null` for any other key. */
export function characterOf(code: string): string | null {
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1];
  if (digit !== undefined) return digit;
  if (code === 'Minus' || code === 'NumpadSubtract') return '-';
  if (code === 'BracketRight') return ']';
  return code === 'KeyC' ? 'C' : code === 'KeyQ' ? 'Q' : null;
}

export class Wedge {
  #text = '';
  #startedAt = 0;
  #lastAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly handlers: Handlers) {}

  /** A key went down at `at` (`event.timeStamp`). Answers whether it was taken, so that the browser does nothing with it. */
  key(code: string, at: number): boolean {
    const follows = this.#text !== '' && at - this.#lastAt <= PAUSE_MS && at - this.#startedAt <= SCAN_MS;
    if (code === 'Enter' || code === 'NumpadEnter' || code === 'Tab') {
      if (follows && this.#isScan()) {
        this.#finish();
        return true;
      }
      this.#reset();
      if (code === 'Tab') return false;
      this.handlers.enter();
      return true;
    }
    const character = characterOf(code);
    if (character === null) return false;
    if (!follows) {
      this.#reset();
      this.#startedAt = at;
      this.handlers.mark();
    }
    this.#text += character;
    this.#lastAt = at;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { if (this.#isScan()) this.#finish(); }, SETTLED_MS);
    if (/[\d-]/.test(character)) this.handlers.typed(character);
    return /[\d\]-]/.test(character);
  }

  /** Whether a key at `at` would still be of a scan that is being read. */
  isReading(at: number): boolean {
    return this.#text.length > 1 && at - this.#lastAt <= PAUSE_MS && this.#isScan();
  }

  #isScan(): boolean {
    const text = this.#text.replace(AIM, '');
    // A receipt's number is short, but nobody types dashes into an amount.
    return text.length >= SCAN_CHARS_MIN || /^\d+-\d+-\d$/.test(text);
  }

  #finish(): void {
    const text = this.#text.replace(AIM, '');
    this.#reset();
    this.handlers.rollback();
    this.handlers.scan(text);
  }

  #reset(): void {
    clearTimeout(this.#timer);
    this.#text = '';
  }
}
