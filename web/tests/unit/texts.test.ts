import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAmount, LANGUAGES, nearestLanguage, setLanguage, translator, type Texts } from '../../src/shared/i18n.svelte';

const pages = import.meta.glob<{ texts: Texts<string> }>('../../src/**/texts.ts', { eager: true });

const places = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();

test('every text is there in every language, with the same places for values', () => {
  assert.ok(Object.keys(pages).length > 0);
  for (const [page, { texts }] of Object.entries(pages)) {
    for (const language of LANGUAGES) {
      assert.deepEqual(Object.keys(texts[language]).sort(), Object.keys(texts.en).sort(), `${page}, ${language}`);
      for (const [key, text] of Object.entries(texts[language])) {
        assert.notEqual(text.trim(), '', `${page}: ${key} is empty in ${language}`);
        assert.deepEqual(places(text), places(texts.en[key] ?? ''), `${page}: ${key} in ${language}`);
      }
    }
  }
});

test('texts follow the language, and values are put in as they are', () => {
  const t = translator({ en: { hello: 'Hello {name}' }, 'zh-CN': { hello: '你好，{name}' } });
  assert.equal(t('hello', { name: '<b>$&</b>' }), 'Hello <b>$&</b>');
  setLanguage('zh-CN');
  assert.equal(t('hello', { name: 'Ada' }), '你好，Ada');
  assert.equal(t('hello'), '你好，{name}');
  setLanguage('en');
});

test('amounts have the decimals of their currency', () => {
  assert.equal(formatAmount(1250, 'EUR', 'en'), '€12.50');
  assert.equal(formatAmount(1250, 'CNY', 'zh-CN'), '¥12.50');
  assert.equal(formatAmount(1250, 'JPY', 'en'), '¥1,250');
});

test('the nearest language of a browser is found', () => {
  assert.deepEqual(['zh-Hans-SG', 'zh', 'de-DE', undefined].map(nearestLanguage), ['zh-CN', 'zh-CN', 'en', 'en']);
});
