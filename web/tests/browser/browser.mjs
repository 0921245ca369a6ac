// What all tests in a browser share: Debian's chromium, a camera that is a file, and what a page must never do.
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const AXE = readFileSync(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** Rules of axe are grouped by these; what is a matter of taste is left to people. */
const STANDARDS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

export const KIOSK = { width: 1280, height: 800 };

/** Starts the browser. `camera` is a .mjpeg file; without one the camera shows a test pattern. `folder`: for `fromFolder`. */
export async function start({ camera, permission = true, folder = false } = {}) {
  const fake = camera ? [`--use-file-for-fake-video-capture=${camera}`] : [];
  const args = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream', ...fake,
    // A page from a folder is not of this machine to the browser, which would ask its user first.
    ...(folder ? ['--disable-features=LocalNetworkAccessChecks'] : []),
    ...(permission ? ['--use-fake-ui-for-media-stream'] : ['--deny-permission-prompts']),
  ];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args });
}

/** A page with a record of everything that it must not do. */
export async function page(browser, { size = KIOSK, locale = 'en' } = {}) {
  const context = await browser.newContext({ viewport: size, locale, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) wrong.push(`console: ${message.text()}`);
  });
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  return { context, page, wrong };
}

/** Serves pages from a build's folder in place of those in the program, under the program's own headers: to try a change
    without building it. `names` says which file stands at which path. */
export async function fromFolder(page, origin, folder, names) {
  await page.route((url) => url.origin === origin && (url.pathname in names || url.pathname.startsWith('/assets/')), async (route) => {
    const { pathname } = new URL(route.request().url());
    const headers = (await fetch(`${origin}${Object.keys(names)[0]}`)).headers;
    await route.fulfill({
      path: `${folder}/${names[pathname] ?? pathname.slice(1)}`,
      headers: { 'content-security-policy': headers.get('content-security-policy') ?? '' },
    });
  });
}

/** What axe finds that keeps somebody from using the page. */
export async function accessibility(page) {
  // The policy of the page allows no such script; what DevTools evaluates is exempt from it.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((standards) => globalThis.axe.run({ runOnly: standards }), STANDARDS);
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(' | ')}`);
}

/** Everything that the browser would keep of a page. */
export async function kept(page) {
  return page.evaluate(async () => ({
    local: { ...localStorage },
    session: { ...sessionStorage },
    databases: (await indexedDB.databases()).map(({ name }) => name),
    caches: await caches.keys(),
    cookies: document.cookie,
    workers: (await navigator.serviceWorker.getRegistrations()).length,
    address: location.href,
  }));
}
