import { existsSync } from "node:fs";
import { join } from "node:path";
import { SpecialTokenHarness } from "../agent/special-token-harness.js";
import { ConfigError } from "../errors/config-error.js";
import { EmbeddedDecoder } from "../model/embedded-decoder.js";
import { loadNative } from "../native/load.js";
import { EmbeddedPolicy } from "../policy/embedded-policy.js";
import { LocalSandboxProvider } from "../sandbox/local-sandbox-provider.js";
import { SharedSandboxProvider } from "../sandbox/shared-sandbox-provider.js";
import { taskFamily } from "../tasks/task-families.js";
import { Tokenizer } from "../tokens/tokenizer.js";
import type { TrainConfig } from "./config/train-config.js";
import { LazySandboxes } from "./lazy-sandboxes.js";
import { modelDirectory } from "./model-directory.js";
import type { ResumedWeights } from "./parts-opener.js";
import type { TrainParts } from "./train-parts.js";

/**
 * Opens what a configuration names: the embedded decoder and its policy, the task family with its harness, local sandboxes (started when
 * the first is needed).
 *
 * @throws ConfigError ERR_CONFIG when family, model, tokenizer and limits do not fit each other; whatever loading the model throws.
 */
export async function openParts(config: TrainConfig, resumed?: ResumedWeights): Promise<TrainParts> {
  const family = taskFamily(config.tasks.family);
  if (config.threads !== undefined && !loadNative().setThreads(config.threads))
    throw new ConfigError(
      "ERR_CONFIG",
      `[config] "threads": expected an integer from 1 to 256, got ${config.threads}.`,
    );
  const { model, tokenizer } = await openModel(config, family.tokenizer, resumed?.modelDirectory);
  const harness = new SpecialTokenHarness(tokenizer, { maxActionTokens: family.maxActionTokens });
  const { maxPositions } = model.config;
  if (config.limits.maxTokens !== undefined && config.limits.maxTokens > maxPositions)
    throw new ConfigError(
      "ERR_CONFIG",
      `[config] "limits.maxTokens" is more than the model takes: expected at most ${maxPositions}, got ${config.limits.maxTokens}. Lower it.`,
    );
  const policy = new EmbeddedPolicy({
    model,
    slots: config.concurrency,
    maxContext: config.limits.maxTokens ?? maxPositions,
    version: resumed?.policyVersion ?? 0,
  });
  const sandboxes = new LazySandboxes(
    async () => new SharedSandboxProvider(await LocalSandboxProvider.start()),
  );
  return {
    model,
    openReference: (directory) => EmbeddedDecoder.load(directory),
    policy,
    family,
    harness,
    sandboxes,
    dispose: async () => {
      await policy.dispose();
      await sandboxes.dispose();
    },
  };
}

async function openModel(
  config: TrainConfig,
  familyTokenizer: string,
  resumedDirectory: string | undefined,
): Promise<{ model: EmbeddedDecoder; tokenizer: Tokenizer }> {
  const { path: start } = config.model;
  const directory = resumedDirectory ?? (start === undefined ? undefined : await modelDirectory(start));
  if (directory !== undefined) {
    const model = await EmbeddedDecoder.load(directory);
    const own = existsSync(join(directory, "tokenizer.json"));
    if (!own) await model.useTokenizer(familyTokenizer);
    const tokenizer = Tokenizer.fromDirectory(own ? directory : familyTokenizer);
    if (tokenizer.vocabSize <= model.vocabSize) return { model, tokenizer };
    throw new ConfigError(
      "ERR_CONFIG",
      `[config] the model in ${directory} does not know every token: expected a vocabulary of at least ${tokenizer.vocabSize}, got ${model.vocabSize}. Use the tokenizer it was made with.`,
    );
  }
  const { architecture, tokenizer: path = familyTokenizer } = config.model;
  if (!architecture)
    throw new ConfigError("ERR_CONFIG", '[config] "model": expected exactly one of path and architecture.');
  const tokenizer = Tokenizer.fromDirectory(path);
  const model = EmbeddedDecoder.create({
    config: { ...architecture, vocabSize: tokenizer.vocabSize },
    seed: config.seed,
  });
  await model.useTokenizer(path);
  return { model, tokenizer };
}
