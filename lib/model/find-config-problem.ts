import type { NativeDecoderConfig } from "../native/native-model.js";

/** Sizes above this are mistakes; below it every row offset the kernels form is exact. */
const MAX_SIZE = 2 ** 24;

const SIZES = [
  "vocabSize",
  "hiddenSize",
  "intermediateSize",
  "numLayers",
  "numHeads",
  "numKvHeads",
  "headDim",
  "maxPositions",
] as const;

/** What is wrong with a decoder's shape, as `field: expected X, got Y`, or undefined when it can be built. */
export function findConfigProblem(config: NativeDecoderConfig): string | undefined {
  for (const field of SIZES) {
    const size = config[field];
    if (!Number.isInteger(size) || size < 1 || size > MAX_SIZE)
      return `${field}: expected an integer in [1, ${MAX_SIZE}], got ${JSON.stringify(size)}`;
  }
  if (config.numHeads % config.numKvHeads !== 0)
    return `numHeads: expected a multiple of numKvHeads (${config.numKvHeads}), got ${config.numHeads}`;
  if (config.headDim % 2 !== 0) return `headDim: expected an even number, got ${config.headDim}`;
  for (const field of ["ropeTheta", "rmsNormEps"] as const) {
    const value = config[field];
    if (!Number.isFinite(value) || value <= 0)
      return `${field}: expected a positive number, got ${JSON.stringify(value)}`;
  }
  if (typeof config.tieWordEmbeddings !== "boolean")
    return `tieWordEmbeddings: expected true or false, got ${JSON.stringify(config.tieWordEmbeddings)}`;
  return undefined;
}
