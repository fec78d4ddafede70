import { mutationsOf } from "./mutation.js";

const REFERENCE = "loss/reference.test.ts";
const PYTORCH = "loss/objective-golden.test.ts";
const SEQUENCES = "loss/sequence-options.test.ts";
const DTYPES = "loss/fallback-dtypes.test.ts";
const PACKED = "loss/packed-rows.test.ts";
const STEP = "loss/step-weights.test.ts";
const SHARDS = "loss/vocab-parallel-fallback.test.ts";
const HEAD = "loss/fallback-linear-loss.test.ts";

export const LIB_MUTATIONS = [
  ...mutationsOf("lib/loss/row-distribution.ts", [
    ["the temperature", "logits.map((logit) => logit / temperature)", "logits.slice()", REFERENCE],
    ["an empty row", "logprob: empty ? -Infinity : logprob", "logprob", "loss/fallback-loss.test.ts"],
  ]),
  ...mutationsOf("lib/loss/reference-objective.ts", [
    ["1 / temperature of the gradient", "(gradScale * slope) / temperature", "gradScale * slope", REFERENCE],
    ["p - 1 at the target", "(j === target ? 1 : 0)", "0", REFERENCE],
    [
      "the lower clip bound",
      "Math.max(ratio, 1 - epsilonLow)",
      "Math.max(ratio, 1 - epsilonHigh)",
      REFERENCE,
    ],
    ["the upper clip bound", "1 + epsilonHigh);\n      // A", "1 + epsilonLow);\n      // A", REFERENCE],
    [
      "the minimum of the clipped surrogate",
      "surrogate = Math.min(free, clipped);",
      "surrogate = Math.max(free, clipped);",
      REFERENCE,
    ],
    ["no gradient where clipped", "} else if (clipped < free) {", "} else if (false) {", REFERENCE],
    [
      "the sign of the cross-entropy",
      "negativeSlope += observationWeight;",
      "negativeSlope -= observationWeight;",
      REFERENCE,
    ],
    [
      "the sign of the KL penalty",
      "negativeSlope -= actionWeight * klCoefficient * slope",
      "negativeSlope += actionWeight * klCoefficient * slope",
      PYTORCH,
    ],
    ["the slope of k3", "slope: 1 - Math.exp(-d)", "slope: Math.exp(-d) - 1", PYTORCH],
    ["the half of k2", "kl: (d * d) / 2", "kl: d * d", "loss/option-variants.test.ts"],
    ["the sign of the entropy bonus", "p * (Math.log(p) + entropy)", "p * (Math.log(p) - entropy)", PYTORCH],
    ["GSPO's mean", "(k) => logprobs[k] - old(k)) / actions.length", "(k) => logprobs[k] - old(k))", PYTORCH],
    [
      "the cap of the sampler's weight",
      "Math.min(factor, correction.cap)",
      "Math.max(factor, correction.cap)",
      PYTORCH,
    ],
  ]),
  ...mutationsOf("lib/loss/step-weights.ts", [
    ["N and |A_i|", "return 1 / (n * each.actions);", "return 1 / n;", STEP],
    ["the default of lambda", "options.lambda ?? 0.05", "options.lambda ?? 0.5", STEP],
    [
      "no action weight with envOnly",
      "if (each.actions === 0 || options.envOnly) return 0;",
      "if (each.actions === 0) return 0;",
      STEP,
    ],
    [
      "the mask of actions",
      "if (roles[t] === ROLE_CODE.action) action[t]",
      "if (roles[t] !== ROLE_CODE.context) action[t]",
      STEP,
    ],
    ["dropped targets", "forObservations * factors[t]", "forObservations", STEP],
    [
      "epsilon",
      "lambda / (n * (each.answered + epsilon))",
      "lambda / (n * each.answered)",
      "loss/echo-loss-golden.test.ts",
    ],
  ]),
  ...mutationsOf("lib/loss/tally-sequence.ts", [
    [
      "the token that opens a sequence",
      "for (let t = 1; t < roles.length; t++) {\n    if (roles[t] === ROLE_CODE.action) tally",
      "for (let t = 0; t < roles.length; t++) {\n    if (roles[t] === ROLE_CODE.action) tally",
      STEP,
    ],
    [
      "warnings in |O_i|",
      "roles[t] !== ROLE_CODE.observation && roles[t] !== ROLE_CODE.warning",
      "roles[t] !== ROLE_CODE.observation",
      REFERENCE,
    ],
    [
      "targets of an answer",
      "kept < maxObservationTokens",
      "kept <= maxObservationTokens",
      "loss/observation-targets.test.ts",
    ],
  ]),
  ...mutationsOf("lib/loss/pack-micro-batch.ts", [
    ["the shift to the row before", "const row = offset + t - 1;", "const row = offset + t;", REFERENCE],
    ["advantages on action rows only", "if (sequence.roles[t] !== ROLE_CODE.action) continue;", "", STEP],
    [
      "imitation's advantage",
      "imitation ? 1 : sequence.advantage",
      "sequence.advantage",
      "loss/equivalence.test.ts",
    ],
  ]),
  ...mutationsOf("lib/loss/packed-rows.ts", [
    ["the sequence before a batch", "    first = end;\n", "", PACKED],
    [
      "the end of a sequence",
      "roles: roles.subarray(start, end),",
      "roles: roles.subarray(start + 1, end + 1),",
      PACKED,
    ],
    ["a sequence without tokens", "if (batch.cuSeqLens[i] === batch.cuSeqLens[i + 1])", "if (false)", PACKED],
  ]),
  ...mutationsOf("lib/loss/write-gradient.ts", [
    ["where a bfloat16 row begins", "narrowed ? 2 * ld : ld", "ld", DTYPES],
    ["zeros in the padding", "out.fill(0, t * stride + vocab, t * stride + ld);", "", DTYPES],
    [
      "bfloat16 below the smallest normal number",
      "SMALLEST_NORMAL_BFLOAT16 ? 0 * x : x",
      "SMALLEST_NORMAL_BFLOAT16 ? x : x",
      DTYPES,
    ],
  ]),
  ...mutationsOf("lib/floats/float32-to-float16.ts", [
    ["ties to even", "0xfff + ((magnitude >>> 13) & 1)", "0x1000", "floats/float16.test.ts"],
    ["overflow to infinity", "return 0x7c00;", "return 0x7bff;", "floats/float16.test.ts"],
    [
      "the smallest normal number",
      "magnitude >= 0x38800000",
      "magnitude > 0x38000000",
      "floats/float16.test.ts",
    ],
  ]),
  ...mutationsOf("lib/loss/rollout-weights.ts", [
    ["truncation", "return Math.min(w, cap);", "return Math.max(w, cap);", SEQUENCES],
    ["the mask's floor", "w > cap || w < floor", "w > cap", SEQUENCES],
    ["the mask's cap", "w > cap || w < floor", "w < floor", SEQUENCES],
    [
      "the sign of the log-ratio",
      "oldLogprobs[t] - samplerLogprobs[t];",
      "samplerLogprobs[t] - oldLogprobs[t];",
      SEQUENCES,
    ],
    [
      "the mask of action rows",
      "if (actionWeights[t] !== 0) sum += logRatio(t);",
      "sum += logRatio(t);",
      SEQUENCES,
    ],
  ]),
  ...mutationsOf("lib/loss/sequence-log-ratios.ts", [
    ["1 / |A_i|", "ratios[t] = sum / count;", "ratios[t] = sum;", SEQUENCES],
    ["the sign", "sum += logprobs[t] - oldLogprobs[t];", "sum -= logprobs[t] - oldLogprobs[t];", SEQUENCES],
    ["the mask of action rows", "if (actionWeights[t] === 0) continue;", "", SEQUENCES],
  ]),
  ...mutationsOf("lib/loss/advantages.ts", [
    [
      "the unbiased deviation",
      "squares / (rewards.length - 1)",
      "squares / rewards.length",
      "loss/advantages.test.ts",
    ],
    ["1e-6", "/ (std + 1e-6));", "/ std);", "loss/advantages.test.ts"],
    [
      "a group without contrast",
      "rewards.every((reward) => reward === rewards[0])",
      "false",
      "loss/advantages.test.ts",
    ],
    ["the mean", "(reward - mean) / (std", "reward / (std", "loss/advantages.test.ts"],
  ]),
  ...mutationsOf("lib/loss/roles-from-masks.ts", [
    ["a token in two masks", "if (roles[t] !== ROLE_CODE.context)", "if (false)", STEP],
    [
      "the mask of observations",
      '["action", "observation", "warning"] as const',
      '["action", "warning"] as const',
      STEP,
    ],
  ]),
  ...mutationsOf("lib/loss/check-loss-rows.ts", [
    [
      "a row of two authors",
      "if (action !== 0 && observation !== 0)",
      "if (false)",
      "loss/echo-loss-bad-input.test.ts",
    ],
    [
      "targets of weighted rows",
      "targets[t] < 0 || targets[t] >= vocab",
      "targets[t] < 0",
      "loss/echo-loss-bad-input.test.ts",
    ],
  ]),
  ...mutationsOf("lib/loss/lambda-schedule.ts", [
    [
      "the last step of a line",
      "step >= steps ? to :",
      "step > steps + 1 ? to :",
      "loss/lambda-schedule.test.ts",
    ],
    ["the step that changes lambda", "step >= boundary", "step > boundary", "loss/lambda-schedule.test.ts"],
  ]),
  ...mutationsOf("lib/loss/merge-loss-totals.ts", [
    [
      "the largest ratio",
      "Math.max(most, part.ratioMax)",
      "most + part.ratioMax",
      "loss/merge-loss-totals.test.ts",
    ],
    [
      "sums that a part lacks",
      "parts.every((part) => part[field] !== undefined)",
      "true",
      "loss/merge-loss-totals.test.ts",
    ],
  ]),
  ...mutationsOf("lib/loss/merge-vocab-statistics.ts", [
    ["the shift of the entropy's sum", "shift * part.sum[t]", "0", "loss/vocab-parallel.test.ts"],
    ["sums brought to one maximum", "factor * part.sum[t];", "part.sum[t];", "loss/vocab-parallel.test.ts"],
  ]),
  ...mutationsOf("lib/loss/statistics-distribution.ts", [
    ["the temperature of the others", "Math.exp((rest - max) / temperature)", "Math.exp(rest - max)", SHARDS],
    ["a confident target", "Math.log1p(others)", "Math.log(sum)", SHARDS],
    ["a row of nothing but -Infinity", "const empty = sum === 0;", "const empty = false;", SHARDS],
    ["the entropy of a row with NaN", "if (Number.isNaN(logprob)) entropy = Number.NaN;", "", SHARDS],
  ]),
  ...mutationsOf("lib/loss/shard-distribution.ts", [
    ["where a shard begins", "target - shard.begin;", "target;", SHARDS],
    ["a target behind the shard", "place < logits.length ? place : -1", "0", SHARDS],
    ["the softcap", "softcap(x, logitSoftcap)", "x", SHARDS],
  ]),
  ...mutationsOf("lib/loss/fallback-vocab-statistics.ts", [
    ["the target kept apart", "      x[place] = -Infinity;\n", "", SHARDS],
    ["rows that are skipped", "if (target < 0) continue;", "", SHARDS],
    ["base 2 of the entropy's sum", "a * Math.LOG2E * e", "a * e", SHARDS],
  ]),
  ...mutationsOf("lib/loss/head-chunks.ts", [
    ["one buffer for all chunks", "Math.min(chunkRows, all.length)", "all.length", HEAD],
    ["rows without weight", "(_, t) => t).filter(wanted)", "(_, t) => t)", HEAD],
    ["where a chunk begins", "first += chunkRows", "first += chunkRows + 1", HEAD],
  ]),
  ...mutationsOf("lib/loss/fallback-linear-loss.ts", [
    [
      "zeros on rows without weight",
      "if (!isWeighted(rows, t)) hiddenGradient",
      "if (false) hiddenGradient",
      HEAD,
    ],
    ["sums over all rows", "sums[k] += gradient * hidden[k]", "sums[k] = gradient * hidden[k]", HEAD],
  ]),
];
