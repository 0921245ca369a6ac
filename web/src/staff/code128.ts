// Code 128, set B, as bars of an SVG path. ISO/IEC 15417.

/** Widths of bars and spaces of each value, then the stop. */
const WIDTHS = `212222222122222221121223121322131222122213122312132212221213221312231212112232122132122231113222123122
123221223211221132221231213212223112312131311222321122321221312212322112322211212123212321232121111323131123
131321112313132113132311211313231113231311112133112331132131113123113321133121313121211331231131213113213311
213131311123311321331121312113312311332111314111221411431111111224111422121124121421141122141221112214112412
122114122411142112142211241211221114413111241112134111111242121142121241114212124112124211411212421112421211
212141214121412121111143111341131141114113114311411113411311113141114131311141411131211412211214211232`.replace(/\s/g, '');
const STOP = '2331112';
const START_B = 104;
const QUIET = 10;

const symbol = (value: number): string => WIDTHS.slice(value * 6, value * 6 + 6);

/** Bars in modules from the left, and how wide all of it is with its quiet zones. `null` if a character is not in set B. */
export function code128(text: string): { bars: { x: number; width: number }[]; width: number } | null {
  const values = Array.from(text, (character) => character.charCodeAt(0) - 32);
  if (values.length === 0 || values.some((value) => value < 0 || value > 94)) return null;
  const check = values.reduce((sum, value, index) => sum + value * (index + 1), START_B) % 103;
  const widths = [START_B, ...values, check].map(symbol).join('') + STOP;
  const bars: { x: number; width: number }[] = [];
  let x = QUIET;
  Array.from(widths, Number).forEach((width, index) => {
    if (index % 2 === 0) bars.push({ x, width });
    x += width;
  });
  return { bars, width: x + QUIET };
}
