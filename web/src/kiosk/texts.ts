import type { Texts } from '../shared/i18n.svelte';

const en = {
  title: 'Pay by being yourself',
};

export const texts: Texts<keyof typeof en> = {
  en,
  'zh-CN': {
    title: '刷脸、按指纹，轻松付款',
  },
};
