// Compiles the unit tests (TypeScript, runes of Svelte) to what node's own test runner can run.
import { readdirSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const tests = readdirSync('tests/unit').filter((file) => file.endsWith('.test.ts'));

export default defineConfig({
  plugins: [svelte()],
  publicDir: false,
  build: {
    ssr: true,
    outDir: 'dist/tests',
    emptyOutDir: true,
    rolldownOptions: {
      input: tests.map((file) => `tests/unit/${file}`),
      output: { entryFileNames: '[name].mjs' },
    },
  },
});
