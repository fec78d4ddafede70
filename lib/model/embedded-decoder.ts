import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ArgumentError } from "../errors/argument-error.js";
import { CheckpointError } from "../errors/checkpoint-error.js";
import { DataError } from "../errors/data-error.js";
import { checkLossRows } from "../loss/check-loss-rows.js";
import type { LossOptions } from "../loss/loss-options.js";
import type { LossTotals } from "../loss/loss-totals.js";
import type { MicroBatch } from "../loss/micro-batch.js";
import { nativeLossRows } from "../loss/native-loss-rows.js";
import type { PackedSequences } from "../loss/packed-sequences.js";
import { resolveLossOptions } from "../loss/resolve-loss-options.js";
import { callNative } from "../native/call-native.js";
import { loadNative } from "../native/load.js";
import type { NativeDecoder, NativeDecoderConfig, NativeSampler } from "../native/native-model.js";
import { CheckpointWeights } from "./checkpoint-weights.js";
import { findConfigProblem } from "./find-config-problem.js";
import { initializeParameters } from "./initialize-parameters.js";
import { modelConfigFromJson } from "./model-config-from-json.js";
import { modelConfigToJson } from "./model-config-to-json.js";
import type { Parameter } from "./parameter.js";
import type { TrainableModel } from "./trainable-model.js";
import { writeFileDurably } from "./write-file-durably.js";
import { writeSafetensors } from "./write-safetensors.js";

const TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json"];
const SPECIAL_TOKENS = ["bos_token_id", "eos_token_id", "pad_token_id"];

/**
 * The decoder that lives in this process: Qwen3 architecture, float32, CPU. Its directories are Hugging Face directories; what it
 * saves transformers loads, and the reverse. Methods are synchronous and use the native thread pool.
 */
export class EmbeddedDecoder implements TrainableModel {
  readonly config: Readonly<NativeDecoderConfig>;
  private readonly native: NativeDecoder;
  private readonly tensors: readonly Parameter[];
  private readonly tokenizerFiles = new Map<string, Uint8Array>();
  private specialTokens: Record<string, unknown> = {};
  private weightChanges = 0;

  private constructor(config: NativeDecoderConfig) {
    this.config = Object.freeze({ ...config });
    this.native = callNative("EmbeddedDecoder", () => loadNative().createDecoder(this.config));
    this.tensors = this.native.parameters().map((tensor) => ({ ...tensor, decay: tensor.shape.length > 1 }));
  }

  /**
   * A decoder with random weights: matrices normal(0, 0.02), norm gains 1. The same seed gives the same weights.
   * @throws ArgumentError ERR_OUT_OF_RANGE naming the field that cannot be. NativeError when memory or the addon is missing.
   */
  static create(options: { config: NativeDecoderConfig; seed: number }): EmbeddedDecoder {
    const problem = findConfigProblem(options.config);
    if (problem)
      throw new ArgumentError("ERR_OUT_OF_RANGE", `[EmbeddedDecoder.create] ${problem}. Correct the config.`);
    if (!Number.isSafeInteger(options.seed) || options.seed < 0)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[EmbeddedDecoder.create] seed: expected an integer >= 0, got ${options.seed}. Pass one.`,
      );
    const decoder = new EmbeddedDecoder(options.config);
    initializeParameters(decoder.tensors, options.config.numLayers, options.seed);
    decoder.parametersChanged();
    return decoder;
  }

  /**
   * The decoder of a Hugging Face directory (float32, float16 or bfloat16 weights, one file or shards).
   * @throws DataError ERR_MODEL_CONFIG, ERR_SAFETENSORS.
   */
  static async load(directory: string): Promise<EmbeddedDecoder> {
    const decoder = new EmbeddedDecoder((await readConfig(directory)).config);
    await decoder.load(directory);
    return decoder;
  }

  get vocabSize(): number {
    return this.config.vocabSize;
  }

  /** Counts changes of the weights. Whoever caches what follows from them compares it. */
  get weightsVersion(): number {
    return this.weightChanges;
  }

  forwardBackward(micro: MicroBatch, options: LossOptions): LossTotals {
    const where = "EmbeddedDecoder.forwardBackward";
    const resolved = resolveLossOptions(where, options);
    if (resolved.logitSoftcap !== false)
      throw new ArgumentError(
        "ERR_UNSUPPORTED",
        `[${where}] logitSoftcap is not for this model: expected false, got ${resolved.logitSoftcap}. Its sampler knows no softcap and would draw from another distribution.`,
      );
    const checked = checkLossRows(where, micro.rows, micro.ids.length, this.vocabSize);
    const { cuSeqLens } = micro;
    const rows = nativeLossRows(where, checked, { ...micro.rows, cuSeqLens }, resolved, () =>
      this.logprobs(micro, resolved),
    );
    return callNative(where, () => this.native.forwardBackward(micro.ids, cuSeqLens, rows, resolved));
  }

  logprobs(packed: PackedSequences, options: { temperature: number }): Float32Array {
    return callNative("EmbeddedDecoder.logprobs", () =>
      this.native.logprobs(packed.ids, packed.cuSeqLens, options.temperature),
    );
  }

  /** Logits of every row, [T, V]: for small inputs. */
  logits(packed: PackedSequences): Float32Array {
    return callNative("EmbeddedDecoder.logits", () => this.native.logits(packed.ids, packed.cuSeqLens));
  }

  parameters(): readonly Parameter[] {
    return this.tensors;
  }

  zeroGradients(): void {
    this.native.zeroGradients();
  }

  parametersChanged(): void {
    this.native.parametersChanged();
    this.weightChanges++;
  }

  /** A sampler over these weights with `slots` key-value caches of `maxContext` tokens. Empty it after every change of the weights. */
  createSampler(slots: number, maxContext: number): NativeSampler {
    return callNative("EmbeddedDecoder.createSampler", () => this.native.createSampler(slots, maxContext));
  }

  /** From now on `save` writes this directory's tokenizer beside the weights. `load` does the same for what it finds. */
  async useTokenizer(directory: string): Promise<void> {
    this.tokenizerFiles.clear();
    for (const file of TOKENIZER_FILES) {
      const bytes = await readFile(join(directory, file)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      if (bytes) this.tokenizerFiles.set(file, bytes);
    }
  }

  async save(directory: string): Promise<void> {
    await mkdir(directory, { recursive: true });
    await writeSafetensors(join(directory, "model.safetensors"), this.tensors);
    for (const [file, bytes] of this.tokenizerFiles) await writeFileDurably(join(directory, file), [bytes]);
    const json = JSON.stringify(modelConfigToJson(this.config, this.specialTokens), null, 2);
    await writeFileDurably(join(directory, "config.json"), [Buffer.from(`${json}\n`)]);
  }

  /**
   * Replaces the weights by those of a directory of the same shape. Everything is checked before the first weight is overwritten.
   * @throws CheckpointError ERR_CHECKPOINT_MISMATCH when the shape differs. DataError ERR_MODEL_CONFIG, ERR_SAFETENSORS.
   */
  async load(directory: string): Promise<void> {
    const { config, specialTokens } = await readConfig(directory);
    for (const [field, value] of Object.entries(this.config)) {
      const got = config[field as keyof NativeDecoderConfig];
      if (got !== value)
        throw new CheckpointError(
          "ERR_CHECKPOINT_MISMATCH",
          `[EmbeddedDecoder.load] ${directory} holds another model: expected ${field} ${value}, got ${got}. Load it as a model of its own.`,
        );
    }
    const weights = await CheckpointWeights.open(directory);
    try {
      const known = new Set(this.tensors.map(({ name }) => name));
      // Some tied checkpoints store the head as well; like transformers, we let the embedding stand for both.
      if (this.config.tieWordEmbeddings) known.add("lm_head.weight");
      for (const name of weights.names)
        if (!known.has(name))
          throw new DataError(
            "ERR_SAFETENSORS",
            `[EmbeddedDecoder.load] ${directory} holds a tensor "${name}": expected only those of a Qwen3 decoder. It belongs to another architecture.`,
          );
      for (const { name, shape } of this.tensors) weights.require(name, shape);
      // Counted before and after: whoever samples in between sees that the weights are not what they were.
      this.weightChanges++;
      try {
        for (const { name, shape, value } of this.tensors) await weights.read(name, shape, value);
      } finally {
        this.parametersChanged();
      }
    } finally {
      await weights.close();
    }
    this.specialTokens = specialTokens;
    await this.useTokenizer(directory);
  }
}

async function readConfig(
  directory: string,
): Promise<{ config: NativeDecoderConfig; specialTokens: Record<string, unknown> }> {
  const path = join(directory, "config.json");
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new DataError(
      "ERR_MODEL_CONFIG",
      `[model config] ${path} cannot be read: ${(cause as Error).message}. Expected a Hugging Face model directory.`,
      { cause },
    );
  }
  const config = modelConfigFromJson(json, path);
  const specialTokens = Object.fromEntries(
    SPECIAL_TOKENS.filter((key) => json[key] !== undefined).map((key) => [key, json[key]]),
  );
  return { config, specialTokens };
}
