// Figures against their budgets, for `cargo xtask bench`. Tests assert no times: a machine may be busy.

/** How often each thing is measured. */
export const ROUNDS = 20;

/** From loopback until something is drawn, and from a touch or key until it shows; milliseconds. */
export const FIRST_PAINT_MS = 300;
export const REACTION_MS = 100;

/** What was measured so far, as the report has it. */
export const figures = [];

/** Notes and tells how long something took; 95 of a hundred times have to keep the budget. */
export function measured(page, what, budgetMs, times) {
  const sorted = [...times].sort((one, other) => one - other);
  const place = (share) => Math.round(sorted[Math.ceil(share * sorted.length) - 1]);
  const figure = { page, what, budget_ms: budgetMs, rounds: sorted.length, median_ms: place(0.5), p95_ms: place(0.95), most_ms: place(1) };
  figure.met = figure.p95_ms <= budgetMs;
  figures.push(figure);
  const columns = [`${page}: ${what}`.padEnd(44), `median ${figure.median_ms}`, `95 % ${figure.p95_ms}`, `most ${figure.most_ms}`, `budget ${budgetMs} ms`];
  console.log(`${columns.join('  ')}  ${figure.met ? 'met' : 'MISSED'}`);
}

/** Milliseconds until the first content of a page that has just been loaded was drawn. */
export const firstPaint = (page) => page.evaluate(() => new Promise((done) => {
  const look = (list) => list.getEntriesByName('first-contentful-paint').forEach(({ startTime }) => done(startTime));
  new PerformanceObserver(look).observe({ type: 'paint', buffered: true });
}));

/** Milliseconds from the time stamp of the touch or key that `act` makes to the frame after the one that shows a change below
    `selector`: by then it has been drawn, whatever the screen does. */
export async function reaction(page, selector, act) {
  await page.evaluate((selector) => {
    const began = new Promise((done) => {
      for (const type of ['pointerdown', 'keydown']) addEventListener(type, ({ timeStamp }) => done(timeStamp), { capture: true, once: true });
    });
    const shown = new Promise((done) => {
      const watch = new MutationObserver(() => {
        watch.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
      });
      watch.observe(document.querySelector(selector), { attributes: true, childList: true, characterData: true, subtree: true });
    });
    globalThis.reaction = Promise.all([began, shown]).then(([from, to]) => to - from);
  }, selector);
  await act();
  return page.evaluate(() => globalThis.reaction);
}
