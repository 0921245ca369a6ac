// What a payer may type to say who is paying, and when there is enough of it. The server has the last word.

import type { TextKey } from './texts';

export type Kind = 'phone_last4' | 'phone' | 'member_number' | 'pin';

interface Rule {
  min: number;
  max: number;
  /** Not to be read over somebody's shoulder. */
  hidden: boolean;
  letters: boolean;
  label: TextKey;
}

export const RULES: Record<Kind, Rule> = {
  phone_last4: { min: 4, max: 4, hidden: true, letters: false, label: 'field_phone_last4' },
  phone: { min: 7, max: 15, hidden: false, letters: false, label: 'field_phone' },
  member_number: { min: 1, max: 20, hidden: false, letters: true, label: 'field_member_number' },
  pin: { min: 4, max: 12, hidden: true, letters: false, label: 'field_pin' },
};

/** One more character, if it may come there. */
export function typed(kind: Kind, value: string, key: string): string {
  const rule = RULES[kind];
  const character = key.toUpperCase();
  const fits = /^[0-9]$/.test(character) || (rule.letters && /^[A-Z-]$/.test(character));
  return fits && value.length < rule.max ? value + character : value;
}

export const isEnough = (kind: Kind, value: string): boolean => value.length >= RULES[kind].min;

/** Nothing more can come: it goes on by itself. */
export const isComplete = (kind: Kind, value: string): boolean => RULES[kind].min === RULES[kind].max && isEnough(kind, value);
