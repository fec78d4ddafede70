import { ArgumentError } from "../errors/argument-error.js";
import type { NativeHead } from "../native/native-linear-loss.js";
import { checkRows } from "./check-rows.js";
import type { LinearHead } from "./linear-head.js";

const DEFAULT_LOGITS_BYTES = 64 * 2 ** 20;
const LARGEST_WIDTH = 2 ** 24;
const LARGEST_VOCABULARY = 2 ** 31 - 1;

const dtypeOf = (values: Float32Array | Uint16Array): "float32" | "bfloat16" =>
  values instanceof Uint16Array ? "bfloat16" : "float32";

/**
 * The layer as the kernels take it, for T rows.
 * @throws ArgumentError as `checkRows`; ERR_OUT_OF_RANGE for hiddenSize and maxLogitsBytes; ERR_INVALID_SHAPE when `weight` has no whole rows.
 */
export function checkLinearHead(where: string, head: LinearHead, rows: number): NativeHead {
  const { hidden, weight, hiddenSize, maxLogitsBytes = DEFAULT_LOGITS_BYTES } = head;
  const outOfRange = (name: string, expected: string, value: unknown): ArgumentError =>
    new ArgumentError(
      typeof value === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
      `[${where}] ${name} is unusable: expected ${expected}, got ${String(value)}.`,
    );
  if (!Number.isInteger(hiddenSize) || hiddenSize < 1 || hiddenSize > LARGEST_WIDTH)
    throw outOfRange("hiddenSize", `a whole number from 1 to ${LARGEST_WIDTH}`, hiddenSize);
  if (typeof maxLogitsBytes !== "number" || !(maxLogitsBytes > 0))
    throw outOfRange("maxLogitsBytes", "a number above 0", maxLogitsBytes);
  const kind = (values: unknown) => (values instanceof Uint16Array ? Uint16Array : Float32Array);
  checkRows<Float32Array | Uint16Array>(where, "hidden", hidden, kind(hidden), rows * hiddenSize, "[T, D]");
  checkRows<Float32Array | Uint16Array>(where, "weight", weight, kind(weight), undefined, "[V, D]");
  const vocab = weight.length / hiddenSize;
  if (!Number.isInteger(vocab) || vocab < 1 || vocab > LARGEST_VOCABULARY)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] weight has the wrong length: expected V rows of hiddenSize ${hiddenSize}, got ${weight.length}.`,
    );
  const chunkRows = Math.min(Math.max(1, Math.floor(maxLogitsBytes / (4 * vocab))), LARGEST_VOCABULARY);
  return {
    hidden,
    hiddenDtype: dtypeOf(hidden),
    weight,
    weightDtype: dtypeOf(weight),
    vocab,
    width: hiddenSize,
    chunkRows,
  };
}
