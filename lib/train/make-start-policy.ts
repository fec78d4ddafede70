import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SpecialTokenHarness } from "../agent/special-token-harness.js";
import { TaskError } from "../errors/task-error.js";
import { recordTrajectories } from "../eval/record-trajectories.js";
import { Progress } from "../report/progress.js";
import type { Trajectory } from "../rollout/trajectory.js";
import { TrajectoryWriter } from "../rollout/trajectory-writer.js";
import { LocalSandboxProvider } from "../sandbox/local-sandbox-provider.js";
import type { TaskFamily } from "../tasks/task-family.js";
import { copyDocument } from "../tasks/tinyterm/pretraining/copy-document.js";
import { recallDocument } from "../tasks/tinyterm/pretraining/recall-document.js";
import { tinytermFamily } from "../tasks/tinyterm/tinyterm-family.js";
import { visitFamily } from "../tasks/tinyterm/visit/visit-family.js";
import { Tokenizer } from "../tokens/tokenizer.js";
import { closeRun } from "./close-run.js";
import { parseConfig } from "./config/parse-config.js";
import type { TrainConfig } from "./config/train-config.js";
import { documentTrajectory } from "./document-trajectory.js";
import { startPolicyArchitecture } from "./start-policy-architecture.js";
import { startPolicyDigests } from "./start-policy-digests.js";
import { START_POLICY_RECIPE } from "./start-policy-recipe.js";
import { startRun } from "./start-run.js";
import { train } from "./trainer.js";

/**
 * Makes TinyTerm's starting policy from nothing: records the documents, trains on them through the ordinary trainer (algorithm sft), and
 * copies the model with a manifest to `out`.
 *
 * @param work directory for documents and runs; must not exist.
 * @param hiddenSize, layers another size than the recipe's, see startPolicyArchitecture.
 * @throws ConfigError ERR_CONFIG when the size is none; TaskError ERR_TASK when a transcript could not be recorded.
 */
export async function makeStartPolicy(options: {
  out: string;
  work: string;
  hiddenSize?: number;
  layers?: number;
  note(message: string): void;
}): Promise<void> {
  const { out, work, note } = options;
  const { imitation, pretraining, seed } = START_POLICY_RECIPE;
  const architecture = startPolicyArchitecture(options);
  await mkdir(work, { recursive: true });
  const tokenizer = Tokenizer.fromDirectory(tinytermFamily.tokenizer);
  const sandboxes = await LocalSandboxProvider.start();
  const record = async (
    name: string,
    family: TaskFamily,
    { tasks, agent }: { tasks: number; agent: "expert" | "random" },
  ): Promise<Trajectory[]> => {
    const harness = new SpecialTokenHarness(tokenizer, { maxActionTokens: family.maxActionTokens });
    const { excluded, trajectories } = await recordTrajectories({
      family,
      split: "train",
      tasks,
      agent,
      harness,
      sandboxes,
      seed,
    });
    if (excluded.length > 0)
      throw new TaskError(
        "ERR_TASK",
        `[makeStartPolicy] ${excluded.length} of ${tasks} transcripts of ${name} could not be recorded: ${excluded[0].error?.message ?? excluded[0].stopReason} Run \`echo-grpo doctor\`.`,
      );
    const solved = trajectories.filter(({ reward }) => reward === 1).length;
    note(`${name}: ${trajectories.length} transcripts, ${((100 * solved) / tasks).toFixed(1)} % solved`);
    return trajectories;
  };
  const files: Record<"visits" | "visitExpert" | "visitsAgain" | "tasks", string> = {
    visits: join(work, "other-worlds-random.jsonl"),
    visitExpert: join(work, "other-worlds-expert.jsonl"),
    visitsAgain: join(work, "other-worlds-again.jsonl"),
    tasks: join(work, "tasks-random.jsonl"),
  };
  try {
    const visits = await record("other worlds, random", visitFamily, {
      tasks: pretraining.randomTranscripts,
      agent: "random",
    });
    await write(files.visits, visits);
    await write(files.visitsAgain, visits.slice(0, imitation.otherTranscripts));
    await write(
      files.visitExpert,
      await record("other worlds, expert", visitFamily, {
        tasks: pretraining.expertTranscripts,
        agent: "expert",
      }),
    );
    await write(
      files.tasks,
      await record("tasks, random", tinytermFamily, { tasks: imitation.randomTranscripts, agent: "random" }),
    );
  } finally {
    await sandboxes.dispose();
  }
  const { documentTokens } = pretraining;
  const documents = [
    ...Array.from({ length: pretraining.copyDocuments }, (_, i) =>
      copyDocument(tokenizer, seed, i, documentTokens),
    ),
    ...Array.from({ length: pretraining.recallDocuments }, (_, i) =>
      recallDocument(tokenizer, seed, i, documentTokens),
    ),
  ];
  const documentFile = await write(join(work, "documents.jsonl"), documents.map(documentTrajectory));

  const first = await imitate(
    {
      out: join(work, "pretraining"),
      model: { architecture, tokenizer: tinytermFamily.tokenizer },
      sft: {
        data: [
          documentFile,
          ...Array.from({ length: pretraining.transcriptRepeats }, () => [
            files.visits,
            files.visitExpert,
          ]).flat(),
        ],
        epochs: 1,
        batchSequences: pretraining.batchSequences,
        observationWeight: pretraining.observationWeight,
      },
      optimizer: { learningRate: pretraining.learningRate, schedule: "linear", warmupSteps: 100 },
    },
    note,
  );
  const second = await imitate(
    {
      out: join(work, "imitation"),
      model: { path: first },
      sft: {
        data: [files.tasks, files.visitsAgain],
        epochs: imitation.epochs,
        batchSequences: imitation.batchSequences,
        observationWeight: imitation.observationWeight,
      },
      optimizer: { learningRate: imitation.learningRate, schedule: "linear", warmupSteps: 10 },
    },
    note,
  );
  await rm(out, { recursive: true, force: true });
  await cp(second, out, { recursive: true });
  const sha256: Record<string, string> = {};
  for (const name of (await readdir(out)).sort())
    sha256[name] = createHash("sha256")
      .update(await readFile(join(out, name)))
      .digest("hex");
  const manifest = {
    madeBy: "echo-grpo make-start-policy",
    recipe: { ...START_POLICY_RECIPE, architecture },
    madeWith: await startPolicyDigests([tinytermFamily, visitFamily]),
    sha256,
  };
  await writeFile(join(out, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  note(`starting policy: ${out}`);
}

/** Runs one sft configuration to its end; returns the directory of the model it leaves. */
async function imitate(
  settings: Pick<TrainConfig, "out"> & Record<string, unknown>,
  note: (message: string) => void,
): Promise<string> {
  const config = parseConfig(
    {
      algorithm: "sft",
      seed: START_POLICY_RECIPE.seed,
      checkpointEvery: 1_000_000,
      keepCheckpoints: 1,
      ...settings,
    },
    "make-start-policy",
  );
  const run = await startRun(config, { onProblem: note });
  const progress = new Progress({ steps: run.steps });
  try {
    await train(run, { progress });
    return join(config.out, "checkpoints", `step-${run.steps}`, "model");
  } finally {
    progress.end();
    await closeRun(run);
  }
}

async function write(path: string, trajectories: readonly Trajectory[]): Promise<string> {
  const writer = await TrajectoryWriter.open(path, { existing: "refuse" });
  for (const trajectory of trajectories) await writer.write(trajectory);
  await writer.close();
  return path;
}
