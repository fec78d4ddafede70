/** What makes row t from row 0: a turn by t times this. */
const TURN = 613;

/** Row t, column j of `benchLogits`. */
export function benchLogit(V: number, t: number, j: number): number {
  return noise((j + t * TURN) % V);
}

/**
 * Logits [T, V] from -6 to 6 whose first row is a hash of the column; drawing every value would take longer than the benchmark. They are multiples of 1/32, so
 * that float32, bfloat16 and float16 hold the very same numbers, and any peer can make them (peers/torch_loss.py).
 */
export function benchLogits(T: number, V: number, dtype: "float32"): Float32Array;
export function benchLogits(T: number, V: number, dtype: "bfloat16" | "float16"): Uint16Array;
export function benchLogits(
  T: number,
  V: number,
  dtype: "float32" | "bfloat16" | "float16",
): Float32Array | Uint16Array {
  const values = Float32Array.from({ length: V }, (_, j) => noise(j));
  const row = dtype === "float32" ? values : Uint16Array.from(values, dtype === "bfloat16" ? high : half);
  const logits = dtype === "float32" ? new Float32Array(T * V) : new Uint16Array(T * V);
  for (let t = 0; t < T; t++) {
    const turn = (t * TURN) % V;
    logits.set(row.subarray(turn), t * V);
    logits.set(row.subarray(0, turn), t * V + V - turn);
  }
  return logits;
}

function noise(j: number): number {
  let h = Math.imul(j, 0x9e3779b1) >>> 0;
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b) >>> 0;
  return (((h ^ (h >>> 13)) >>> 0) % 385) / 32 - 6;
}

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

function high(value: number): number {
  word[0] = value;
  return bits[0] >>> 16;
}

/** Exact for the multiples of 1/32 here. */
function half(value: number): number {
  word[0] = value;
  const sign = (bits[0] >>> 16) & 0x8000;
  return value === 0 ? sign : sign | (((bits[0] & 0x7fffffff) >>> 13) - (112 << 10));
}
