import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { PAGES } from './pages.mjs';

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: 'dist/pages',
    // The oldest browser of a kiosk that we know of (the last for Windows 7 and 8).
    target: 'chrome109',
    // The content security policy allows neither `data:` nor inline scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: 'manifest.json',
    rolldownOptions: { input: PAGES.map(({ name }) => `${name}.html`) },
  },
});
