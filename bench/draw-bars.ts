import type { BenchTable } from "./bench-table.js";
import { svgText } from "./svg-text.js";

const BAR = 15;
const PITCH = 22;
const HEAD = 30;
const FOOT = 26;
/** For the names, and for the numbers behind the bars. */
const LEFT = 330;
const RIGHT = 70;

/** One panel of horizontal bars on a logarithmic scale of milliseconds. @returns its elements and its height. */
export function drawBars(
  title: string,
  bars: NonNullable<BenchTable["bars"]>,
  width: number,
): { parts: string[]; height: number } {
  const times = bars.map(({ ms }) => ms);
  const low = Math.floor(Math.log10(Math.min(...times)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...times))));
  const x = (ms: number): number => LEFT + ((width - LEFT - RIGHT) * (Math.log10(ms) - low)) / (high - low);
  const bottom = HEAD + bars.length * PITCH;
  const parts = [svgText(8, 19, title, 'class="title"')];
  for (let power = low; power <= high; power++) {
    const at = x(10 ** power).toFixed(1);
    parts.push(`<line class="grid" x1="${at}" x2="${at}" y1="${HEAD}" y2="${bottom}"/>`);
    parts.push(
      svgText(x(10 ** power), bottom + 15, `${10 ** power} ms`, 'class="muted" text-anchor="middle"'),
    );
  }
  for (const [i, { kind, ms, name }] of bars.entries()) {
    const y = HEAD + i * PITCH + (PITCH - BAR) / 2;
    const weight = kind === "ours" ? ' font-weight="600"' : "";
    parts.push(svgText(LEFT - 8, y + BAR - 3, name, `class="text" text-anchor="end"${weight}`));
    parts.push(
      `<rect class="${kind}" x="${LEFT}" y="${y}" width="${Math.max(1, x(ms) - LEFT).toFixed(1)}" height="${BAR}" rx="2"/>`,
    );
    const shown = ms >= 100 ? Math.round(ms).toLocaleString("en-US") : String(Number(ms.toPrecision(2)));
    parts.push(svgText(x(ms) + 6, y + BAR - 3, shown, 'class="text"'));
  }
  return { parts, height: bottom + FOOT };
}
