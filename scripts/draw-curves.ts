/** What to draw: one panel per metric, one line per series. */
export interface Curves {
  panels: { title: string; key: string; low: number; floor?: number }[];
  series: { name: string; lines: Record<string, number>[] }[];
  colors: Record<string, string>;
}

const WIDTH = 440;
const HEIGHT = 260;
const LEFT = 48;
const TOP = 34;
const BOTTOM = 36;

/** An SVG of learning curves over the training step, with no dependency and no script in it. */
export function drawCurves({ panels, series, colors }: Curves): string {
  const parts: string[] = [];
  const text = (x: number, y: number, words: string, rest = ""): void => {
    parts.push(`<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${rest}>${words}</text>`);
  };
  for (const [i, panel] of panels.entries()) {
    const points = series.map(({ name, lines }) => ({
      name,
      values: lines.filter((line) => typeof line[panel.key] === "number"),
    }));
    const all = points.flatMap(({ values }) => values);
    const lastStep = Math.max(...all.map((line) => line.step));
    const high = niceAbove(Math.max(...all.map((line) => line[panel.key])));
    const x0 = i * WIDTH + LEFT;
    const innerWidth = WIDTH - LEFT - 16;
    const innerHeight = HEIGHT - TOP - BOTTOM;
    const x = (step: number): number => x0 + (innerWidth * step) / lastStep;
    const y = (value: number): number => TOP + innerHeight * (1 - (value - panel.low) / (high - panel.low));
    text(x0, 20, panel.title, 'font-weight="600"');
    for (let tick = 0; tick <= 4; tick++) {
      const value = panel.low + ((high - panel.low) * tick) / 4;
      parts.push(
        `<line x1="${x0}" x2="${x0 + innerWidth}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="#ddd"/>`,
      );
      text(x0 - 6, y(value) + 4, String(Number(value.toFixed(2))), 'text-anchor="end" fill="#555"');
      text(
        x((lastStep * tick) / 4),
        HEIGHT - BOTTOM + 16,
        String(Math.round((lastStep * tick) / 4)),
        'text-anchor="middle" fill="#555"',
      );
    }
    text(x0 + innerWidth / 2, HEIGHT - 6, "training step", 'text-anchor="middle" fill="#555"');
    if (panel.floor !== undefined) {
      parts.push(
        `<line x1="${x0}" x2="${x0 + innerWidth}" y1="${y(panel.floor).toFixed(1)}" y2="${y(panel.floor).toFixed(1)}" stroke="#444" stroke-dasharray="4 3"/>`,
      );
      text(x0 + innerWidth, y(panel.floor) + 14, "floor", 'text-anchor="end" fill="#444"');
    }
    for (const { name, values } of points) {
      const path = values
        .map((line) => `${x(line.step).toFixed(1)},${y(line[panel.key]).toFixed(1)}`)
        .join(" ");
      parts.push(
        `<polyline points="${path}" fill="none" stroke="${colors[name]}" stroke-width="1.8" stroke-opacity="0.85"/>`,
      );
    }
  }
  let legend = LEFT + 10;
  for (const [name, color] of Object.entries(colors)) {
    parts.push(
      `<line x1="${legend}" x2="${legend + 22}" y1="${TOP + 10}" y2="${TOP + 10}" stroke="${color}" stroke-width="3"/>`,
    );
    text(legend + 28, TOP + 14, name, `fill="${color}" font-weight="600"`);
    legend += 90;
  }
  const width = panels.length * WIDTH;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${HEIGHT}" width="${width}" height="${HEIGHT}" font-family="sans-serif" font-size="12">
<title>Learning curves of GRPO and ECHO</title>
<rect width="100%" height="100%" fill="white"/>
${parts.join("\n")}
</svg>
`;
}

function niceAbove(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10];
  return unit * (steps.find((step) => unit * step >= value) ?? 10);
}
