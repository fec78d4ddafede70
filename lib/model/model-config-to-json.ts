import type { NativeDecoderConfig } from "../native/native-model.js";

/**
 * The `config.json` of a `Qwen3ForCausalLM` that transformers loads back as this model. The base of the rotary positions is written
 * both ways: older versions read `rope_theta`, newer ones `rope_parameters`.
 * @param specialTokens `bos_token_id`, `eos_token_id`, `pad_token_id` where known.
 */
export function modelConfigToJson(
  config: NativeDecoderConfig,
  specialTokens: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return {
    architectures: ["Qwen3ForCausalLM"],
    attention_bias: false,
    attention_dropout: 0,
    dtype: "float32",
    head_dim: config.headDim,
    hidden_act: "silu",
    hidden_size: config.hiddenSize,
    initializer_range: 0.02,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositions,
    model_type: "qwen3",
    num_attention_heads: config.numHeads,
    num_hidden_layers: config.numLayers,
    num_key_value_heads: config.numKvHeads,
    rms_norm_eps: config.rmsNormEps,
    rope_parameters: { rope_theta: config.ropeTheta, rope_type: "default" },
    rope_scaling: null,
    rope_theta: config.ropeTheta,
    sliding_window: null,
    tie_word_embeddings: config.tieWordEmbeddings,
    torch_dtype: "float32",
    use_cache: true,
    use_sliding_window: false,
    vocab_size: config.vocabSize,
    ...specialTokens,
  };
}
