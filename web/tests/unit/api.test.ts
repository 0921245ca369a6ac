import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

test('the types are those of the committed documents', () => {
  const print = "import('./scripts/api-types.mjs').then((m) => console.log(JSON.stringify(m.INTERFACES.map((name) => [name, m.generated(name)]))))";
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', print], { encoding: 'utf8' });
  const generated = JSON.parse(stdout || `{"error": ${JSON.stringify(stderr)}}`) as [string, string][];
  assert.ok(generated.length >= 2);
  for (const [name, types] of generated) {
    const committed = readFileSync(`src/api/${name}.ts`, 'utf8');
    assert.ok(committed === types, `src/api/${name}.ts is out of date: \`npm run types\` in web/ writes it`);
  }
});
