import type { Comparison } from "./compare-arms.js";

/** A comparison as the quickstart prints it. */
export function comparisonTable(comparison: Comparison, tasks: number): string {
  const { start, grpo, echo, observationFloor, echoReachesGrpoBestAt, steps } = comparison;
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const nats = (nll: number): string => nll.toFixed(3);
  const rows: string[][] = [
    ["", "start", "GRPO", "ECHO"],
    [
      `success on ${tasks} held-out tasks`,
      percent(start.success),
      percent(grpo.success),
      percent(echo.success),
    ],
    [
      "  best of the evaluations (step)",
      "",
      `${percent(grpo.bestSuccess)} (${grpo.bestStep})`,
      `${percent(echo.bestSuccess)} (${echo.bestStep})`,
    ],
    [
      "observation nll, nats per token",
      nats(start.observationNll),
      nats(grpo.observationNll),
      nats(echo.observationNll),
    ],
  ];
  if (observationFloor !== undefined) {
    const above = (nll: number): string => `+${nats(nll - observationFloor)}`;
    rows.push([
      `  above the floor of ${nats(observationFloor)}`,
      above(start.observationNll),
      above(grpo.observationNll),
      above(echo.observationNll),
    ]);
  }
  rows.push(
    ["tokens that carry a gradient", "", percent(grpo.gradientTokenShare), percent(echo.gradientTokenShare)],
    ["seconds per step", "", grpo.secondsPerStep.toFixed(2), echo.secondsPerStep.toFixed(2)],
  );
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i] + 3)))
      .join("")
      .trimEnd(),
  );
  lines.splice(1, 0, "-".repeat(widths.reduce((sum, width) => sum + width + 3, -3)));
  lines.push(
    "",
    echoReachesGrpoBestAt === undefined
      ? `ECHO did not reach GRPO's best (${percent(grpo.bestSuccess)}) within ${steps} steps.`
      : `ECHO reaches GRPO's best (${percent(grpo.bestSuccess)}, step ${grpo.bestStep}) at step ${echoReachesGrpoBestAt} of ${steps}.`,
  );
  return lines.join("\n");
}
