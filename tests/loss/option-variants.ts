import type { LossOptions } from "../../lib/loss/loss-options.js";

/** Every option of the loss, alone and together: what a fast path is compared with the reference on. */
export const OPTION_VARIANTS: readonly [string, LossOptions][] = [
  ["the defaults", {}],
  ["temperature 0.7 and nll at one", { temperature: 0.7, nllAtOne: true, gradScale: 3 }],
  ["a narrow log-ratio clamp", { logRatioClamp: 0.3, epsilonLow: 0.9, epsilonHigh: 9 }],
  ["no clamp, dual clip", { logRatioClamp: false, dualClip: 1.2 }],
  ["cispo", { surrogate: "cispo", epsilonLow: 1 }],
  ["k1", { klCoefficient: 0.2, klEstimator: "k1" }],
  ["k2", { klCoefficient: 0.2, klEstimator: "k2" }],
  ["k3, temperature 1.4", { klCoefficient: 0.2, temperature: 1.4 }],
  ["k1, a narrow clamp", { klCoefficient: 0.2, klEstimator: "k1", logRatioClamp: 0.3 }],
  ["entropy measured", { entropy: true }],
  ["entropy bonus", { entropyCoefficient: 0.3, temperature: 0.8 }],
  ["softcap", { logitSoftcap: 4 }],
  ["token correction, truncated", { rolloutCorrection: { level: "token", mode: "truncate", cap: 1.1 } }],
  ["token correction, masked", { rolloutCorrection: { level: "token", mode: "mask", cap: 1.2, floor: 0.8 } }],
  ["sequence correction", { rolloutCorrection: { level: "sequence", mode: "truncate", cap: 2 } }],
  ["gspo", { ratioLevel: "sequence", epsilonLow: 0.05, epsilonHigh: 0.05 }],
  [
    "many at once",
    {
      ratioLevel: "sequence",
      rolloutCorrection: { level: "sequence", mode: "mask", cap: 3 },
      dualClip: 1.5,
      entropyCoefficient: 0.1,
      klCoefficient: 0.1,
      logitSoftcap: 5,
      temperature: 0.9,
      nllAtOne: true,
      gradScale: 0.5,
    },
  ],
];
