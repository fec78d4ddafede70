/** The rows `at` of a [T, V] array as base64 of float32 numbers. */
export function encodeRows(values: Float32Array, V: number, at: readonly number[]): string {
  const rows = new Float32Array(at.length * V);
  for (const [i, t] of at.entries()) rows.set(values.subarray(t * V, (t + 1) * V), i * V);
  return Buffer.from(rows.buffer).toString("base64");
}
