import { ConfigError } from "../errors/config-error.js";
import { START_POLICY_RECIPE } from "./start-policy-recipe.js";

/** Of two heads of the recipe's width and the one key-value head that they share. */
const HIDDEN_STEP = 2 * START_POLICY_RECIPE.architecture.headDim;

/**
 * The recipe's architecture in another size: the same proportions, head width and context.
 * @param hiddenSize a multiple of 64; the recipe's by default. @param layers at least 1; the recipe's by default.
 * @throws ConfigError ERR_CONFIG when one of them is not.
 */
export function startPolicyArchitecture(size: { hiddenSize?: number; layers?: number }) {
  const { architecture } = START_POLICY_RECIPE;
  const { hiddenSize = architecture.hiddenSize, layers = architecture.numLayers } = size;
  if (!Number.isSafeInteger(hiddenSize) || hiddenSize < HIDDEN_STEP || hiddenSize % HIDDEN_STEP !== 0)
    throw new ConfigError(
      "ERR_CONFIG",
      `[startPolicyArchitecture] hiddenSize: expected a multiple of ${HIDDEN_STEP}, got ${hiddenSize}.`,
    );
  if (!Number.isSafeInteger(layers) || layers < 1)
    throw new ConfigError(
      "ERR_CONFIG",
      `[startPolicyArchitecture] layers: expected an integer >= 1, got ${layers}.`,
    );
  const of = (part: number): number => (part * hiddenSize) / architecture.hiddenSize;
  return {
    ...architecture,
    hiddenSize,
    intermediateSize: of(architecture.intermediateSize),
    numLayers: layers,
    numHeads: of(architecture.numHeads),
    numKvHeads: of(architecture.numKvHeads),
  };
}
