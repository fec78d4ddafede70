import { SpecialTokenHarness } from "../agent/special-token-harness.js";
import { ConfigError } from "../errors/config-error.js";
import { recordTrajectories } from "../eval/record-trajectories.js";
import { TrajectoryWriter } from "../rollout/trajectory-writer.js";
import { LocalSandboxProvider } from "../sandbox/local-sandbox-provider.js";
import { taskFamily } from "../tasks/task-families.js";
import { Tokenizer } from "../tokens/tokenizer.js";
import { wholeNumber } from "./whole-number.js";

/** Flags as commander gives them. */
export interface RecordCommandOptions {
  out: string;
  family: string;
  split: string;
  agent: string;
  tasks: string;
  concurrency: string;
  seed: string;
  solvedOnly?: boolean;
}

/** @throws ConfigError ERR_CONFIG when the flag has another value. */
function oneOf<T extends string>(flag: string, text: string, values: readonly T[]): T {
  const value = values.find((each) => each === text);
  if (value !== undefined) return value;
  throw new ConfigError(
    "ERR_CONFIG",
    `[record] ${flag}: expected one of ${values.join(", ")}, got "${text}".`,
  );
}

/**
 * @returns the exit status: 0 everything recorded, 1 when rollouts were excluded (the rest is written).
 * @throws ConfigError ERR_CONFIG on a bad flag; WriteError when the file exists or cannot be written.
 */
export async function runRecordCommand(options: RecordCommandOptions): Promise<number> {
  const split = oneOf("--split", options.split, ["train", "val", "ood"]);
  const agent = oneOf("--agent", options.agent, ["expert", "random"]);
  const tasks = wholeNumber("record", "--tasks", options.tasks, 1);
  const concurrency = wholeNumber("record", "--concurrency", options.concurrency, 1);
  const seed = wholeNumber("record", "--seed", options.seed, 0);
  const family = taskFamily(options.family);
  const size = family.size(split);
  if (tasks > size)
    throw new ConfigError(
      "ERR_CONFIG",
      `[record] --tasks: expected at most ${size}, the size of ${family.name}'s ${split} split, got ${tasks}.`,
    );
  // Opened first: what cannot be written is not worth playing.
  const writer = await TrajectoryWriter.open(options.out, { existing: "refuse" });
  const sandboxes = await LocalSandboxProvider.start();
  try {
    const harness = new SpecialTokenHarness(Tokenizer.fromDirectory(family.tokenizer), family);
    const { excluded, floor, trajectories } = await recordTrajectories({
      family,
      split,
      tasks,
      agent,
      harness,
      sandboxes,
      seed,
      concurrency,
    });
    const solved = trajectories.filter(({ reward }) => reward === 1);
    const kept = options.solvedOnly ? solved : trajectories;
    for (const trajectory of kept) await writer.write(trajectory);
    const nll = floor.nll === undefined ? "" : `, observation floor ${floor.nll.toFixed(4)} nats per token`;
    process.stdout.write(
      `${options.out}: ${kept.length} trajectories of ${family.name}/${split} by the ${agent} agent, ${solved.length} of ${trajectories.length} solved${nll}\n`,
    );
    if (excluded.length === 0) return 0;
    process.stderr.write(
      `${excluded.length} rollouts were excluded; the first: ${excluded[0].error?.message ?? excluded[0].stopReason}\n`,
    );
    return 1;
  } finally {
    await writer.close();
    await sandboxes.dispose();
  }
}
