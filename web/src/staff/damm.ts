// The check digit of payment codes, as in crates/domain/src/payment_code.rs.

const DAMM = ['0317598642', '7092154863', '4206871359', '1750983426', '6123045978', '3674209581', '5869720134', '8945362017', '9438617205', '2581436790'];

const CODE_DIGITS = 18;

/** Whether 18 digits and their check digit fit; whose code it is, is for the server to say. */
export function isPaymentCode(text: string): boolean {
  if (!/^\d+$/.test(text) || text.length !== CODE_DIGITS) return false;
  return Array.from(text, Number).reduce((interim, digit) => Number(DAMM[interim]?.[digit]), 0) === 0;
}
