// How fast till and desk are: first paint from loopback, and the time from a key to the frame that shows what came of it.
// Prints figures and asserts nothing; run by hand with SELFSAME_PAGES as in crates/selfsame/tests/it/pages.rs.
import { close, launch, site, Staff } from './harness.mjs';

const ROUNDS = 20;

const median = (numbers) => numbers.sort((one, other) => one - other)[Math.floor(numbers.length / 2)];
const shown = (numbers) => `median ${median(numbers).toFixed(0)} ms, most ${Math.max(...numbers).toFixed(0)} ms, of ${numbers.length}`;

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
  console.log(`${kind}: first contentful paint, ${shown(paints)}`);
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
    console.log(`till: key to the frame that shows it, ${shown(reactions)}`);
  }
  await staff.context.close();
}
await close();
