import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

test('the types are those of the committed documents', () => {
  const print = "import('./scripts/api-types.mjs').then((m) => console.log(JSON.stringify(m.generated())))";
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', print], { encoding: 'utf8' });
  const generated = JSON.parse(stdout || `{"error": ${JSON.stringify(stderr)}}`) as [string, string][];
  assert.ok(generated.length >= 3);
  for (const [file, text] of generated) {
    assert.ok(readFileSync(file, 'utf8') === text, `${file} is out of date: \`npm run types\` in web/ writes it`);
  }
});
