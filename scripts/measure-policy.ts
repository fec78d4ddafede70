import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { STUDY } from "./study-plan.js";

/** Writes a policy's success by family and its observation nll with the floor, on `splits`, to `path`; nothing when that is there already. */
export function measurePolicy(
  model: string,
  seed: number,
  path: string,
  splits: readonly ("val" | "ood")[],
): void {
  if (existsSync(path)) return;
  const { expertTasks, tasks } = STUDY.evaluation;
  const flags = ["--tasks", tasks, "--expert-tasks", expertTasks, "--seed", seed, "--concurrency", 128].map(
    String,
  );
  const found = splits.map((split): [string, unknown] => [
    split,
    JSON.parse(
      execFileSync(
        process.execPath,
        ["dist/cli/main.js", "eval", model, "--split", split, ...flags, "--json"],
        { encoding: "utf8" },
      ),
    ),
  ]);
  writeFileSync(path, `${JSON.stringify({ tasks, expertTasks, ...Object.fromEntries(found) })}\n`);
}
