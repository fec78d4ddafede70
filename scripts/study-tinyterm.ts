// npm run study:tinyterm -- [first seed] [last seed]
// Trains every recipe of examples/tinyterm with every seed (default 1 to 5), measures what each leaves on val and ood, and keeps the raw results in
// bench/results/tinyterm/. What is there already is not done again, and a run that was stopped is taken up where it was.
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { measurePolicy } from "./measure-policy.js";
import { runCli } from "./run-cli.js";
import { STUDY } from "./study-plan.js";
import { trainAndKeep } from "./train-and-keep.js";

const [first = 1, last = 5] = process.argv.slice(2).map(Number);
const splits = ["val", "ood"] as const;
const runs = join("runs", "tinyterm");
const demonstrations = join(runs, "demonstrations.jsonl");

mkdirSync(runs, { recursive: true });
if (!existsSync(demonstrations))
  runCli("record", "--out", demonstrations, "--agent", "expert", "--tasks", `${STUDY.demonstrations}`);
for (let seed = first; seed <= last; seed++) {
  const results = join("bench", "results", "tinyterm", `seed-${seed}`);
  mkdirSync(results, { recursive: true });
  measurePolicy(STUDY.start, seed, join(results, "start.json"), splits);
  for (const { after, name } of STUDY.arms) {
    if (existsSync(join(results, `${name}.json`))) continue;
    const config = (arm: string): string => join("examples", "tinyterm", `${arm}.json`);
    const out = (arm: string): string => join(runs, `${arm}-${seed}`);
    // What it starts from may have been measured elsewhere, and its run not kept.
    if (after !== undefined) trainAndKeep({ config: config(after), seed, out: out(after) });
    trainAndKeep({
      config: config(name),
      seed,
      out: out(name),
      model: after === undefined ? undefined : out(after),
      keep: { path: join(results, name), splits },
    });
  }
}
