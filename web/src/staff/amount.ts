// Amounts as they are typed.

/** Most digits of an amount: far more than any code pays, and exact in a double. */
export const DIGITS_MAX = 10;

/** Minor units of digits that are typed as on a card terminal: 1250 is 12.50. */
export function minorOfDigits(digits: string): number {
  return digits === '' ? 0 : Number(digits);
}

/** Minor units of an amount that was typed with its decimal point or comma, e.g. `12.5` or `12,50`; `null` if it is none. */
export function minorOfText(text: string, decimals: number): number | null {
  const match = /^\s*(\d{1,9})(?:[.,](\d*))?\s*$/.exec(text);
  const [, whole = '', fraction = ''] = match ?? [];
  if (!match || fraction.length > decimals) return null;
  const minor = Number(whole + fraction.padEnd(decimals, '0'));
  return minor > 0 ? minor : null;
}

/** The other way round, for a field: 1250 is `12.50`. */
export function textOfMinor(minor: number, decimals: number): string {
  if (decimals === 0) return String(minor);
  const digits = String(minor).padStart(decimals + 1, '0');
  return `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}
