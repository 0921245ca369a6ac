import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

/** Text and the ground that it stands on. */
const PAIRS = [
  ...['ground', 'surface', 'sunken'].flatMap((ground) => ['ink', 'ink-soft'].map((text) => [text, ground])),
  ...['ground', 'surface'].flatMap((ground) => ['accent', 'bad', 'good', 'caution', 'info'].map((text) => [text, ground])),
  ['on-accent', 'accent'], ['on-accent', 'accent-strong'], ['on-good', 'good'], ['on-bad', 'bad'],
  ['caution', 'caution-ground'], ['info', 'info-ground'],
] as [string, string][];

/** What is no text but has to be seen (WCAG 2.2, 1.4.11). */
const SHAPES = ['ground', 'surface'].flatMap((ground) => ['line-strong', 'focus'].map((shape) => [shape, ground] as [string, string]));

function themes(): Record<string, Record<string, string>> {
  const css = readFileSync('src/shared/tokens.css', 'utf8');
  const colours = (block: string) => Object.fromEntries([...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6})/g)].map(([, name, value]) => [name, value]));
  const [light = '', dark = ''] = css.split(":root[data-theme='dark']");
  return { light: colours(light), dark: colours(dark) };
}

function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one: string, other: string): number {
  const [high = 0, low = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

for (const [theme, colours] of Object.entries(themes())) {
  test(`texts can be read, ${theme}`, () => {
    for (const [pairs, least] of [[PAIRS, 4.5], [SHAPES, 3]] as const) {
      for (const [front, ground] of pairs) {
        const [a, b] = [colours[front], colours[ground]];
        assert.ok(a && b, `${theme}: ${front} or ${ground} is no colour`);
        assert.ok(contrast(a, b) >= least, `${theme}: ${front} on ${ground} has ${contrast(a, b).toFixed(2)}`);
      }
    }
  });
}
