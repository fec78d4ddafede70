import type { BenchTable } from "./bench-table.js";
import { drawBars } from "./draw-bars.js";
import { drawLines } from "./draw-lines.js";

const WIDTH = 860;
const GAP = 14;

/** Readable on light and on dark: the picture brings its own background, and another where dark is preferred. */
const STYLE = `
.ground{fill:#fff}.text,.title{fill:#1f2328}.title{font-size:14px;font-weight:600}.muted{fill:#59636e}.grid{stroke:#d8dee4}
.ours{fill:#1a7f5a}.yardstick{fill:#b98a2f}.peer{fill:#9aa4ae}
.line0,.line1{fill:none;stroke-width:2.2}.line0{stroke:#1a7f5a}.line1{stroke:#2a66b8}.dot0{fill:#1a7f5a}.dot1{fill:#2a66b8}
@media (prefers-color-scheme:dark){
.ground{fill:#0d1117}.text,.title{fill:#e6edf3}.muted{fill:#9aa4ae}.grid{stroke:#2b323b}
.ours{fill:#3fb68b}.yardstick{fill:#d6a94e}.peer{fill:#6b7681}
.line0{stroke:#3fb68b}.line1{stroke:#6ea8fe}.dot0{fill:#3fb68b}.dot1{fill:#6ea8fe}
}`;

/** The picture of the loss, of whatever tables have bars or lines to show; undefined when none has. */
export function drawLoss(tables: readonly BenchTable[]): string | undefined {
  const panels = tables.flatMap(({ bars, title }) =>
    bars ? [drawBars(`${title}: milliseconds, logarithmic scale`, bars, WIDTH)] : [],
  );
  const lines = tables.flatMap((table) => table.lines ?? []);
  if (lines.length > 0)
    panels.push(
      drawLines("echoLoss: share of an in-place update's bandwidth, all rows weighted", lines, WIDTH),
    );
  if (panels.length === 0) return undefined;
  let y = GAP;
  const groups = panels.map(({ height, parts }) => {
    const group = `<g transform="translate(0 ${y})">\n${parts.join("\n")}\n</g>`;
    y += height + GAP;
    return group;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="12" role="img">
<title>The loss beside other libraries, and its share of memory bandwidth</title>
<style>${STYLE}
</style>
<rect class="ground" width="100%" height="100%"/>
${groups.join("\n")}
</svg>
`;
}
