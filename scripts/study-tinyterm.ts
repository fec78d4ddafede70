// npm run study:tinyterm -- [first seed] [last seed]
// Trains every recipe of examples/tinyterm with every seed (default 1 to 5), measures what each leaves on val and ood, and keeps the raw results in
// bench/results/tinyterm/. What is there already is not done again, and a run that was stopped is taken up where it was.
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { STUDY } from "./study-plan.js";

const [first = 1, last = 5] = process.argv.slice(2).map(Number);
const main = join("dist", "cli", "main.js");
const runs = join("runs", "tinyterm");
const demonstrations = join(runs, "demonstrations.jsonl");

function command(...args: string[]): void {
  const { status, signal } = spawnSync(process.execPath, [main, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0)
    throw new Error(
      `echo-grpo ${args.join(" ")} ended with ${signal ?? status}; run the study again to go on`,
    );
}

/** Success by family on both splits, and the observation nll with its floor. */
function measure(model: string, seed: number, path: string): void {
  if (existsSync(path)) return;
  const { tasks, expertTasks } = STUDY.evaluation;
  const found = Object.fromEntries(
    (["val", "ood"] as const).map((split) => [
      split,
      JSON.parse(
        execFileSync(
          process.execPath,
          [
            main,
            "eval",
            model,
            "--split",
            split,
            "--tasks",
            `${tasks}`,
            "--expert-tasks",
            `${expertTasks}`,
          ].concat(["--seed", `${seed}`, "--concurrency", "128", "--json"]),
          { encoding: "utf8" },
        ),
      ),
    ]),
  );
  writeFileSync(path, `${JSON.stringify({ tasks, expertTasks, ...found })}\n`);
}

/** Trains a recipe to its last step, from where it stopped if it was begun. */
function train(name: string, seed: number, after?: string): void {
  const out = join(runs, `${name}-${seed}`);
  if (existsSync(join(out, "metrics.jsonl"))) command("train", "--resume", out);
  else
    command(
      ...["train", join("examples", "tinyterm", `${name}.json`), "--seed", `${seed}`, "--out", out],
      ...(after === undefined ? [] : ["--model", join(runs, `${after}-${seed}`)]),
    );
}

mkdirSync(runs, { recursive: true });
if (!existsSync(demonstrations))
  command("record", "--out", demonstrations, "--agent", "expert", "--tasks", `${STUDY.demonstrations}`);
const seeds = Array.from({ length: last - first + 1 }, (_, i) => first + i);
const work = [false, true].flatMap((late) =>
  seeds.flatMap((seed) =>
    STUDY.arms.filter((arm) => (arm.late ?? false) === late).map((arm) => ({ ...arm, seed })),
  ),
);
for (const { after, name, seed } of work) {
  const results = join("bench", "results", "tinyterm", `seed-${seed}`);
  mkdirSync(results, { recursive: true });
  measure(STUDY.start, seed, join(results, "start.json"));
  const out = join(runs, `${name}-${seed}`);
  const done = join(results, `${name}.json`);
  if (existsSync(done)) continue;
  // What it starts from may have been measured elsewhere, and its run not kept.
  if (after !== undefined) train(after, seed);
  train(name, seed, after);
  for (const kind of ["metrics", "timings"])
    copyFileSync(join(out, `${kind}.jsonl`), join(results, `${name}.${kind}.jsonl`));
  // Paths from the package's folder: where that lies is nobody's business.
  const config = readFileSync(join(out, "config.json"), "utf8").replaceAll(`${process.cwd()}/`, "");
  writeFileSync(join(results, `${name}.config.json`), config);
  measure(out, seed, done);
}
