import { editDistance } from "./edit-distance.js";

// What other trainers call the same thing.
const OTHER_NAMES: Readonly<Record<string, string>> = {
  worldmodelcoeff: "lambda",
  envlosscoef: "lambda",
  auxtokenlosscoeff: "lambda",
  worldmodelcoeffschedule: "lambdaSchedule",
  worldmodelcoeffend: "lambdaSchedule",
  worldmodelcoefftransitionstep: "lambdaSchedule",
  worldmodelcoeffsteps: "lambdaSchedule",
  worldmodelcoeffvalues: "lambdaSchedule",
  worldlosstarget: "observationTargets",
  worldlossnormalization: "observationDenominator",
  maxworldmodeltokens: "maxObservationTokens",
  worldmodelonly: "envOnly",
  wmfilterminvalidtoolcallpct: "observationFilter.minValidActions",
  wmfilterminparsecleanpct: "observationFilter.minCleanActions",
  wmfiltermincorrectpct: "observationFilter.minCorrect",
  alpha: "lambda",
  lr: "optimizer.learningRate",
  numgenerations: "groupSize",
  samplespertask: "groupSize",
  cliprange: "epsilonLow",
  clipratiolow: "epsilonLow",
  clipratiohigh: "epsilonHigh",
  clipratioc: "dualClip",
  klcoef: "klCoefficient",
  kllosscoef: "klCoefficient",
  klbeta: "klCoefficient",
  beta: "klCoefficient",
  kllosstype: "klEstimator",
  entropycoeff: "entropyCoefficient",
  entropycoef: "entropyCoefficient",
  losstype: "surrogate",
  importancesamplinglevel: "ratioLevel",
  outputdir: "out",
  rundir: "out",
};

/**
 * The known key an unknown one most likely stands for, as a dotted path, or undefined when nothing is near. Keys of the same object
 * are preferred; then the same name in another place.
 */
export function nearestKey(
  unknown: readonly string[],
  known: readonly (readonly string[])[],
): string | undefined {
  const name = unknown[unknown.length - 1];
  const plain = (key: string): string => key.toLowerCase().replace(/[_-]/g, "");
  const parent = unknown.slice(0, -1).join(".");
  let best: { key: string; cost: number } | undefined;
  for (const path of known) {
    const candidate = path[path.length - 1];
    const distance = editDistance(plain(name), plain(candidate));
    if (distance > Math.max(1, Math.floor(Math.max(name.length, candidate.length) / 3))) continue;
    const elsewhere = path.slice(0, -1).join(".") !== parent;
    const cost = distance + (elsewhere ? 1.5 : 0);
    if (!best || cost < best.cost) best = { key: path.join("."), cost };
  }
  const other = OTHER_NAMES[plain(name)];
  // Save for a slip within the same object: `beta` of an optimizer is one of its betas, whatever another trainer calls so.
  return other !== undefined && (best === undefined || best.cost > 1) ? other : best?.key;
}
