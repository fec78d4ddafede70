import { DataError } from "../errors/data-error.js";
import type { NativeDecoderConfig } from "../native/native-model.js";
import { findConfigProblem } from "./find-config-problem.js";

/**
 * Reads the `config.json` of a `Qwen3ForCausalLM`, as any version of transformers writes it. Absent keys take transformers' own
 * defaults. What the decoder does not compute is refused by name, never ignored.
 * @param json the parsed file. @param path names it in errors.
 * @throws DataError ERR_MODEL_CONFIG.
 */
export function modelConfigFromJson(json: unknown, path: string): NativeDecoderConfig {
  const fail = (problem: string): never => {
    throw new DataError(
      "ERR_MODEL_CONFIG",
      `[model config] ${path} has ${problem}. The embedded decoder runs plain Qwen3ForCausalLM models only.`,
    );
  };
  if (!isObject(json)) return fail(`${JSON.stringify(json)?.slice(0, 40)}: expected an object`);
  const only = (key: string, allowed: readonly unknown[]): void => {
    if (json[key] !== undefined && !allowed.includes(json[key]))
      fail(
        `${key}: expected ${allowed.map((value) => JSON.stringify(value)).join(" or ")}, got ${JSON.stringify(json[key])}`,
      );
  };
  if (json.model_type !== "qwen3")
    fail(`model_type: expected "qwen3", got ${JSON.stringify(json.model_type)}`);
  if (Array.isArray(json.architectures) && !json.architectures.includes("Qwen3ForCausalLM"))
    fail(`architectures: expected ["Qwen3ForCausalLM"], got ${JSON.stringify(json.architectures)}`);
  only("hidden_act", ["silu"]);
  only("attention_bias", [false]);
  only("attention_dropout", [0]);
  only("use_sliding_window", [false]);
  only("quantization_config", [null]);
  const { layer_types: layerTypes = null } = json;
  if (layerTypes !== null) {
    const plain = Array.isArray(layerTypes) && layerTypes.every((type) => type === "full_attention");
    if (!plain || layerTypes.length !== json.num_hidden_layers)
      fail(`layer_types: expected "full_attention" for each layer, got ${JSON.stringify(layerTypes)}`);
  }

  // Types are checked below, together with the ranges.
  const value = (key: string, absent?: unknown): never => (json[key] ?? absent) as never;
  const config: NativeDecoderConfig = {
    vocabSize: value("vocab_size"),
    hiddenSize: value("hidden_size"),
    intermediateSize: value("intermediate_size"),
    numLayers: value("num_hidden_layers"),
    numHeads: value("num_attention_heads"),
    numKvHeads: value("num_key_value_heads"),
    headDim: value("head_dim", 128),
    ropeTheta: ropeTheta(json, fail) as never,
    rmsNormEps: value("rms_norm_eps", 1e-6),
    tieWordEmbeddings: value("tie_word_embeddings", false),
    maxPositions: value("max_position_embeddings", 32768),
  };
  const problem = findConfigProblem(config);
  if (problem) fail(problem);
  return config;
}

/**
 * Until 4.57 transformers wrote `rope_theta` and `rope_scaling` (null when there is none), since 5.0 one `rope_parameters`; some files
 * hold both.
 */
function ropeTheta(json: Record<string, unknown>, fail: (problem: string) => never): unknown {
  const thetas: unknown[] = [json.rope_theta ?? undefined];
  for (const key of ["rope_scaling", "rope_parameters"]) {
    const rope = json[key] ?? null;
    if (rope === null) continue;
    if (!isObject(rope)) return fail(`${key}: expected an object, got ${JSON.stringify(rope)}`);
    for (const [name, setting] of Object.entries(rope)) {
      if (name === "rope_theta") thetas.push(setting);
      else if (!((name === "rope_type" || name === "type") && setting === "default"))
        if (!(name === "partial_rotary_factor" && setting === 1))
          return fail(`${key}.${name}: expected unscaled rotary positions, got ${JSON.stringify(setting)}`);
    }
  }
  const [theta = 10_000, ...others] = thetas.filter((candidate) => candidate !== undefined);
  if (others.some((other) => other !== theta))
    return fail(`rope_theta: expected one value, got ${[theta, ...others].join(" and ")}`);
  return theta;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
