// npm run make:pretraining -- <directory> [--skills 20000] [--worlds 6000] [--imitation 2000]
// Writes what a starting policy of TinyTerm learns from, as trajectory files for `algorithm: "sft"`:
//   skills.jsonl     copy and recall documents, half each
//   worlds.jsonl     random commands in the worlds of `tinyterm/visit`, played in the local sandbox
//   imitation.jsonl  random valid commands on training tasks of `tinyterm/find`: no expertise
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SpecialTokenHarness } from "../lib/agent/special-token-harness.js";
import { recordTrajectories } from "../lib/eval/record-trajectories.js";
import type { Trajectory } from "../lib/rollout/trajectory.js";
import { TrajectoryWriter } from "../lib/rollout/trajectory-writer.js";
import { LocalSandboxProvider } from "../lib/sandbox/local-sandbox-provider.js";
import { findFamily } from "../lib/tasks/tinyterm/find/find-family.js";
import { copyDocument } from "../lib/tasks/tinyterm/pretraining/copy-document.js";
import { recallDocument } from "../lib/tasks/tinyterm/pretraining/recall-document.js";
import { visitFamily } from "../lib/tasks/tinyterm/visit/visit-family.js";
import { Tokenizer } from "../lib/tokens/tokenizer.js";
import { documentTrajectory } from "./document-trajectory.js";

const SEED = 1;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    skills: { type: "string", default: "20000" },
    worlds: { type: "string", default: "6000" },
    imitation: { type: "string", default: "2000" },
  },
});
const [directory] = positionals;
if (directory === undefined || positionals.length > 1)
  throw new Error(
    "[make:pretraining] expected one directory to write to: npm run make:pretraining -- <directory>",
  );
mkdirSync(directory, { recursive: true });

async function write(name: string, trajectories: Iterable<Trajectory>): Promise<void> {
  const writer = await TrajectoryWriter.open(join(directory, name), { existing: "refuse" });
  let count = 0;
  for (const trajectory of trajectories) {
    await writer.write(trajectory);
    count++;
  }
  await writer.close();
  console.log(`${join(directory, name)}: ${count} trajectories`);
}

const tokenizer = Tokenizer.fromDirectory(findFamily.tokenizer);
function* skills(): Generator<Trajectory> {
  for (let i = 0; i < Number(values.skills); i++) {
    const make = i % 2 === 0 ? copyDocument : recallDocument;
    yield documentTrajectory(make(tokenizer, SEED, i >> 1), i);
  }
}
await write("skills.jsonl", skills());

const sandboxes = await LocalSandboxProvider.start();
for (const { name, family, tasks } of [
  { name: "worlds.jsonl", family: visitFamily, tasks: Number(values.worlds) },
  { name: "imitation.jsonl", family: findFamily, tasks: Number(values.imitation) },
]) {
  const harness = new SpecialTokenHarness(tokenizer, family);
  const { trajectories, excluded } = await recordTrajectories({
    family,
    split: "train",
    tasks,
    agent: "random",
    harness,
    sandboxes,
    seed: SEED,
  });
  if (excluded.length > 0)
    throw new Error(
      `[make:pretraining] ${excluded.length} rollouts failed, the first with: ${excluded[0].error?.message}`,
    );
  await write(name, trajectories);
}
await sandboxes.dispose();
