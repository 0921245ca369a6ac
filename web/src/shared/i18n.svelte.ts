// Texts in the languages of the payers. A page has its texts in `texts.ts`: English gives the keys, the compiler and a
// test see to it that the others have the same ones. The language is a state: what shows a text follows it.

export const LANGUAGES = ['en', 'zh-CN'] as const;
export type Language = (typeof LANGUAGES)[number];

/** How a language calls itself. */
export const LANGUAGE_NAMES: Record<Language, string> = { en: 'English', 'zh-CN': '中文' };

/** The texts of a page: the same keys in every language. */
export type Texts<Key extends string> = Record<Language, Readonly<Record<Key, string>>>;

let current = $state<Language>('en');

export const language = (): Language => current;

export function setLanguage(next: Language): void {
  current = next;
  if (typeof document !== 'undefined') document.documentElement.lang = next;
}

/** The language that is nearest to a tag such as `zh-Hans-SG`. */
export function nearestLanguage(tag: string | undefined): Language {
  return tag?.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
}

/** Looks texts up, in the language of the page unless another one is named; `{name}` in a text is replaced by the value of that
    name. */
export function translator<Key extends string>(texts: Texts<Key>, tag?: Language) {
  return (key: Key, values: Readonly<Record<string, string | number>> = {}): string =>
    texts[tag ?? current][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** An amount in words of the language, e.g. €12.50 for 1250 minor units. */
export function formatAmount(minor: number, currency: string, tag: Language = current): string {
  const format = new Intl.NumberFormat(tag, { style: 'currency', currency, currencyDisplay: 'narrowSymbol' });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  return format.format(minor / 10 ** digits);
}

export function formatTime(at: Date | number | string, tag: Language = current): string {
  return new Intl.DateTimeFormat(tag, { hour: '2-digit', minute: '2-digit' }).format(new Date(at));
}
