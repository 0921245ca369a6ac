// Which screen a payer sees, as a pure function of what the terminal says. Screens that say how something ended go by
// themselves after a while; a screen that has gone comes back only as another one.

import type { KioskPayment, KioskSession, KioskView } from '../api/kiosk';

export type Screen =
  | 'attract' | 'out_of_service'
  | 'identifier' | 'align' | 'touch' | 'pin' | 'working'
  | 'passed' | 'hand_over' | 'sending' | 'sent' | 'not_sent' | 'code'
  | 'confirm' | 'paid' | 'undone' | 'asked_back' | 'pending' | 'unpaid'
  | 'declined' | 'canceled' | 'timed_out' | 'failed';

/** How long a screen stays when nobody does anything, in milliseconds. Others stay until the terminal says otherwise. */
export const STAYS_MS: Partial<Record<Screen, number>> = {
  passed: 30_000,
  hand_over: 60_000,
  sent: 30_000,
  not_sent: 60_000,
  code: 60_000,
  undone: 6_000,
  asked_back: 8_000,
  pending: 6_000,
  unpaid: 6_000,
  declined: 7_000,
  canceled: 3_000,
  timed_out: 5_000,
  failed: 8_000,
};

/** With the offer to take the payment back there is something to read and to decide. */
export const PAID_WITH_UNDO_MS = 15_000;
/** The same where it can only be asked for: most do not want that, and the next payer waits. */
export const PAID_WITH_ASKING_MS = 10_000;

/** How long the screen of a payment stays. */
export const paidStaysMs = (payment: KioskPayment | undefined): number =>
  payment?.undo_until ? PAID_WITH_UNDO_MS : payment?.may_ask_back ? PAID_WITH_ASKING_MS : 6_000;

/** Terminals that would take no request. */
const CLOSED = ['offline', 'maintenance', 'locked'];

/** What the terminal wants shown, whether or not that was there for long enough. */
export function wanted(view: KioskView): Screen {
  const { session } = view;
  if (session) return session.state === 'done' ? ended(session) : going(session);
  return idle(view);
}

/** Without a payer. */
export function idle(view: KioskView): Screen {
  return CLOSED.includes(view.state) || view.modalities.length === 0 ? 'out_of_service' : 'attract';
}

function going(session: KioskSession): Screen {
  switch (session.state) {
    case 'awaiting_identifier': return 'identifier';
    case 'awaiting_pin': return 'pin';
    case 'capturing': return session.modality === 'face' ? 'align' : 'touch';
    default: return 'working';
  }
}

function ended(session: KioskSession): Screen {
  if (session.payment) return paid(session.payment);
  if (session.cancel) return 'canceled';
  switch (session.outcome) {
    case 'passed': return passed(session);
    case 'declined': return 'declined';
    case 'canceled': return 'canceled';
    case 'timed_out': return 'timed_out';
    default: return 'failed';
  }
}

function paid(payment: KioskPayment): Screen {
  switch (payment.status) {
    case 'requires_action': return 'confirm';
    case 'succeeded': return payment.returned ? 'undone' : payment.asked_back ? 'asked_back' : 'paid';
    case 'pending': return 'pending';
    case 'reversed': return 'undone';
    default: return 'unpaid';
  }
}

function passed({ handover, hand_over_here: byButton }: KioskSession): Screen {
  if (!handover) return byButton ? 'hand_over' : 'passed';
  switch (handover.state) {
    case 'sending': return 'sending';
    case 'sent': return handover.register === 'screen' ? 'code' : handover.register === 'return' ? 'passed' : 'sent';
    default: return 'not_sent';
  }
}

/** Names one showing of a screen: the same screen for another payer, or after another one, is another showing. */
export function showing(view: KioskView): string {
  return `${view.session?.id ?? ''} ${wanted(view)}`;
}

/** What was over before the page was opened is not shown to whoever stands there now; what waits for the payer is. */
export function isOver(view: KioskView): boolean {
  return view.session?.state === 'done' && !['confirm', 'hand_over', 'sending', 'sent', 'code'].includes(wanted(view));
}
