// What the person does before camera or reader, in the words of docs/interface.md.

import type { Texts } from '../shared/i18n.svelte';

const en = {
  no_face: 'Look into the camera',
  several_faces: 'One person only',
  too_far: 'Come closer',
  too_close: 'Move back a little',
  off_center: 'Move to the middle',
  turn_to_camera: 'Face the camera',
  hold_head_upright: 'Hold your head upright',
  too_dark: 'More light, please',
  too_bright: 'Less light, please',
  uneven_light: 'Light from one side',
  blurred: 'Hold still',
  turn_left: 'Turn a little left',
  turn_right: 'Turn a little right',
  look_up: 'Look up a little',
  turn_head: 'Turn your head',
  no_finger: 'Touch the reader',
  one_finger_only: 'One finger only',
  cover_the_reader: 'Cover the reader',
  clean_and_press_again: 'Wipe, press again',
  press_harder: 'Press harder',
  different_finger: 'Use the same finger',
  else: 'Once more, please',
};

export type Guidance = keyof typeof en;

export const isGuidance = (code: string): code is Guidance => Object.hasOwn(en, code);

export const texts: Texts<Guidance> = {
  en,
  'zh-CN': {
    no_face: '请看摄像头',
    several_faces: '请一人操作',
    too_far: '请靠近一点',
    too_close: '请后退一点',
    off_center: '请移到中间',
    turn_to_camera: '请正对摄像头',
    hold_head_upright: '请保持头部端正',
    too_dark: '光线太暗',
    too_bright: '光线太亮',
    uneven_light: '光线不均匀',
    blurred: '请保持不动',
    turn_left: '请向左转一点',
    turn_right: '请向右转一点',
    look_up: '请抬头一点',
    turn_head: '请转动头部',
    no_finger: '请按压指纹器',
    one_finger_only: '请用一根手指',
    cover_the_reader: '请按满指纹区',
    clean_and_press_again: '请擦净后再按',
    press_harder: '请用力按压',
    different_finger: '请用同一手指',
    else: '请再试一次',
  },
};
