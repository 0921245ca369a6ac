// What each page weighs over the wire, against what it may weigh (pages.mjs). Everything that it may load counts.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { PAGES } from '../pages.mjs';

const folder = new URL('../dist/pages/', import.meta.url);
const read = (file) => readFileSync(new URL(file, folder));
const manifest = JSON.parse(read('manifest.json'));

function files(entry, found = new Set()) {
  const { file, css = [], imports = [], dynamicImports = [] } = manifest[entry];
  if (found.has(file)) return found;
  [file, ...css].forEach((name) => found.add(name));
  [...imports, ...dynamicImports].forEach((name) => files(name, found));
  return found;
}

let over = false;
for (const { name, gzipKilobytesMax } of PAGES) {
  const bytes = [...files(`${name}.html`)].map((file) => gzipSync(read(file)).length);
  const kilobytes = bytes.reduce((sum, size) => sum + size, 0) / 1000;
  over ||= kilobytes > gzipKilobytesMax;
  console.log(`${name}: ${kilobytes.toFixed(1)} KB gzip of ${gzipKilobytesMax} KB`);
}
if (over) {
  console.error('a page weighs more than it may (pages.mjs)');
  process.exit(1);
}
