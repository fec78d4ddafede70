import { svgText } from "./svg-text.js";

const HEAD = 34;
const FOOT = 44;
const LEFT = 56;
const RIGHT = 90;
const INNER = 190;

export interface ShareLine {
  name: string;
  points: [vocabulary: number, share: number][];
}

/** One panel of shares over the vocabulary, which has a logarithmic scale. @returns its elements and its height. */
export function drawLines(
  title: string,
  lines: readonly ShareLine[],
  width: number,
): { parts: string[]; height: number } {
  const vocabularies = [...new Set(lines.flatMap(({ points }) => points.map(([V]) => V)))].sort(
    (a, b) => a - b,
  );
  const [least, most] = [vocabularies[0], vocabularies[vocabularies.length - 1]];
  const span = Math.log(most / least) || 1;
  const top = Math.max(1, ...lines.flatMap(({ points }) => points.map(([, share]) => share)));
  const x = (V: number): number => LEFT + ((width - LEFT - RIGHT) * Math.log(V / least)) / span;
  const y = (share: number): number => HEAD + INNER * (1 - share / top);
  const parts = [svgText(8, 19, title, 'class="title"')];
  for (let percent = 0; percent <= 100 * top; percent += 25) {
    const at = y(percent / 100).toFixed(1);
    parts.push(`<line class="grid" x1="${LEFT}" x2="${width - RIGHT}" y1="${at}" y2="${at}"/>`);
    parts.push(svgText(LEFT - 8, y(percent / 100) + 4, `${percent} %`, 'class="muted" text-anchor="end"'));
  }
  let right = Number.NEGATIVE_INFINITY;
  for (const V of vocabularies) {
    // Neighbours that are too close to be read go without a name.
    if (x(V) - right < 48) continue;
    right = x(V);
    parts.push(
      svgText(x(V), HEAD + INNER + 17, V.toLocaleString("en-US"), 'class="muted" text-anchor="middle"'),
    );
  }
  parts.push(
    svgText(
      (LEFT + width - RIGHT) / 2,
      HEAD + INNER + 35,
      "vocabulary",
      'class="muted" text-anchor="middle"',
    ),
  );
  const labels: number[] = [];
  for (const [i, { name, points }] of lines.entries()) {
    const path = points.map(([V, share]) => `${x(V).toFixed(1)},${y(share).toFixed(1)}`);
    parts.push(`<polyline class="line${i}" points="${path.join(" ")}"/>`);
    for (const at of path) {
      const [cx, cy] = at.split(",");
      parts.push(`<circle class="dot${i}" cx="${cx}" cy="${cy}" r="3"/>`);
    }
    let label = y(points[points.length - 1][1]) + 4;
    while (labels.some((other) => Math.abs(other - label) < 15)) label += 15;
    labels.push(label);
    parts.push(
      svgText(x(points[points.length - 1][0]) + 10, label, name, `class="dot${i}" font-weight="600"`),
    );
  }
  return { parts, height: HEAD + INNER + FOOT };
}
