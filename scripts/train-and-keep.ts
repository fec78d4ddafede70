import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { measurePolicy } from "./measure-policy.js";
import { runCli } from "./run-cli.js";

/**
 * Trains a configuration to its last step in the run directory `out`, from where it stopped if it was begun; with `keep`, leaves its
 * measures, metrics, timings and configuration as `<keep>.json`, `<keep>.metrics.jsonl` and so on.
 */
export function trainAndKeep(options: {
  config: string;
  seed: number;
  out: string;
  /** Starts from this instead of what the configuration names. */
  model?: string;
  keep?: { path: string; splits: readonly ("val" | "ood")[] };
}): void {
  const { config, keep, model, out, seed } = options;
  if (existsSync(join(out, "metrics.jsonl"))) runCli("train", "--resume", out);
  else
    runCli(
      ...["train", config, "--seed", `${seed}`, "--out", out],
      ...(model === undefined ? [] : ["--model", model]),
    );
  if (keep === undefined) return;
  mkdirSync(dirname(keep.path), { recursive: true });
  for (const kind of ["metrics", "timings"])
    copyFileSync(join(out, `${kind}.jsonl`), `${keep.path}.${kind}.jsonl`);
  // Paths from the package's folder: where that lies is nobody's business.
  const written = readFileSync(join(out, "config.json"), "utf8").replaceAll(`${process.cwd()}/`, "");
  writeFileSync(`${keep.path}.config.json`, written);
  measurePolicy(out, seed, `${keep.path}.json`, keep.splits);
}
