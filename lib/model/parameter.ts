/** A trainable tensor and its gradient accumulator, both owned by the model and stable across steps. */
export interface Parameter {
  /** Hugging Face name, for example `model.layers.0.self_attn.q_proj.weight`. */
  name: string;
  shape: readonly number[];
  value: Float32Array;
  grad: Float32Array;
  /** Whether weight decay applies (matrices yes, norm gains no). */
  decay: boolean;
}
