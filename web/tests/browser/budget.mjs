// Figures against their budgets, for `cargo xtask bench`. Tests assert no times: a machine may be busy.

/** How often each thing is measured. */
export const ROUNDS = 20;

/** Tells how long something took, in milliseconds, and answers whether it keeps its budget: 95 of a hundred times. */
export function keeps(budget, what, times) {
  const sorted = [...times].sort((one, other) => one - other);
  const place = (share) => sorted[Math.ceil(share * sorted.length) - 1].toFixed(0);
  const met = place(0.95) <= budget;
  console.log(`${what}: median ${place(0.5)} ms, 95 of 100 within ${place(0.95)}, most ${place(1)}; budget ${budget} ms: ${met ? 'met' : 'MISSED'}`);
  return met;
}

/** From loopback until something is drawn, and from a touch or key until it shows; milliseconds. */
export const FIRST_PAINT_MS = 300;
export const REACTION_MS = 100;
