/**
 * A bfloat16 tensor for an optimiser that keeps its float32 master: `value` is the master rounded to nearest, ties to even. An update
 * far below half a unit of `value` is not lost but adds up in the master.
 */
export interface Bfloat16Parameter {
  /** Unique within the optimiser. */
  name: string;
  /** Bits of bfloat16 numbers. Read when the optimiser is made and by `AdamW.reloadMasters`, otherwise only written. */
  value: Uint16Array;
  /** Float32, or the bits of bfloat16 numbers; same length as `value`. */
  grad: Float32Array | Uint16Array;
  /** Whether weight decay applies. */
  decay: boolean;
  dtype: "bfloat16";
}
