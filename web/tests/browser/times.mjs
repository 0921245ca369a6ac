// How fast till and desk are: first paint from loopback, and the time from a key to the frame that shows what came of it.
// Part of `cargo xtask bench`; crates/selfsame/tests/it/pages.rs runs it.
import { FIRST_PAINT_MS, keeps, REACTION_MS, ROUNDS } from './budget.mjs';
import { close, launch, site, Staff } from './harness.mjs';

const kept = [];

await launch();
for (const [kind, key] of [['till', site.merchantKey], ['desk', site.operatorKey]]) {
  const staff = await Staff.at(kind);
  await staff.signIn(key);
  const paints = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await staff.page.reload();
    paints.push(await staff.page.evaluate(() => new Promise((done) => {
      new PerformanceObserver((list) => list.getEntriesByName('first-contentful-paint').forEach(({ startTime }) => done(startTime))).observe({ type: 'paint', buffered: true });
    })));
  }
  kept.push(keeps(FIRST_PAINT_MS, `${kind}: first contentful paint`, paints));
  if (kind === 'till') {
    await staff.page.getByRole('button', { name: 'Receipts' }).waitFor();
    // From the key's own time stamp to the frame after the one in which the amount has changed.
    const reaction = (code) => staff.page.evaluate((code) => new Promise((done) => {
      const began = performance.now();
      const watch = new MutationObserver(() => {
        watch.disconnect();
        requestAnimationFrame(() => { setTimeout(() => done(performance.now() - began)); });
      });
      watch.observe(document.querySelector('output'), { childList: true, characterData: true, subtree: true });
      dispatchEvent(new KeyboardEvent('keydown', { code, bubbles: true }));
    }), code);
    const reactions = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      reactions.push(await reaction('Digit7'));
      await reaction('Backspace');
    }
    kept.push(keeps(REACTION_MS, 'till: key to the frame that shows it', reactions));
  }
  await staff.context.close();
}
await close();
if (kept.includes(false)) process.exitCode = 1;
