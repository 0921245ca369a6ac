// What stands on a receipt, in the language of the page and the time of the place. The server has the same as lines of plain
// text for printers that know no page; it is told no language and no time zone.

import type { Receipt } from '../api/server';
import { formatAmount, translator, type Language } from '../shared/i18n.svelte';
import { texts } from './texts';

/** A line of a receipt: what, and how much or when. */
export interface ReceiptLine { label: string; value: string; strong?: boolean }

const PARTS = { goods: 'part.goods', tip: 'part.tip', deposit: 'part.deposit' } as const;

/** The lines between the merchant's name and the bar code. `zone` is the browser's own unless a test names one. */
export function receiptLines({ number, payment }: Receipt, tag: Language, zone?: string): ReceiptLine[] {
  const t = translator(texts, tag);
  const { currency } = payment.amount;
  const money = (minor: number) => formatAmount(minor, currency, tag);
  const at = new Intl.DateTimeFormat(tag, {
    dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23', ...(zone === undefined ? {} : { timeZone: zone }),
  }).format(new Date(payment.created_at));
  const legs = payment.legs ?? [];
  const part = (name: string) => (name in PARTS ? t(PARTS[name as keyof typeof PARTS]) : name);
  const kind = payment.kind === 'refund' ? t('kind.refund') : t('kind.charge');
  const paid = payment.paid_minor ?? payment.amount.minor;
  return [
    { label: t('receipt.at'), value: at },
    ...(legs.length > 1 ? legs.map((leg) => ({ label: part(leg.part), value: money(leg.amount_minor) })) : []),
    { label: kind, value: money(payment.amount.minor), strong: true },
    ...(paid === payment.amount.minor ? [] : [{ label: t('receipt.paid'), value: money(paid) }]),
    ...(payment.returned_minor ? [{ label: t('receipt.returned'), value: money(payment.returned_minor) }] : []),
    ...(payment.frozen_minor ? [{ label: t('receipt.asked-back'), value: money(payment.frozen_minor) }] : []),
    { label: t('receipt.status'), value: t(`status.${payment.status}`) },
    { label: t('receipt.number'), value: number },
  ];
}
