/** What an optimiser needs of a float32 tensor; `Parameter` of echo-grpo/model is one. */
export interface OptimizerParameter {
  /** Unique within the optimiser. */
  name: string;
  value: Float32Array;
  /** Same length as `value`. */
  grad: Float32Array;
  /** Whether weight decay applies. */
  decay: boolean;
  dtype?: "float32";
}
