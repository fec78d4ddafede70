// The trainer of ../drop-in-loss with a jax-js model: same world, same loop, echo-grpo's loss between the two halves of `vjp`.
import { pathToFileURL } from "node:url";
import { defaultDevice, init, tree } from "@jax-js/jax";
import { rolesFromMasks, stepWeights } from "echo-grpo/loss";
import { train } from "../drop-in-loss/train.js";
import { VOCABULARY } from "../drop-in-loss/world.js";
import { DrawerModel } from "./drawer-model.js";
import { echoLossJax } from "./echo-loss-jax.js";

/** Leaves the gradient of one step in `model.gradient`; returns the loss. */
export function learn(model, episodes, lambda = 0.05) {
  const sequences = episodes.map(({ ids, actionMask, observationMask, logprobs, advantage }) => ({
    ids,
    roles: rolesFromMasks({ action: actionMask, observation: observationMask }),
    advantage,
    oldLogprobs: logprobs,
  }));
  const rows = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const [micro] = stepWeights({ sequences, lambda }).microBatches({ maxTokens: rows });
  const forward = model.on(micro.ids, micro.cuSeqLens);
  const { loss, gradient } = echoLossJax(forward, tree.ref(model.params), micro.rows);
  model.gradient = gradient;
  return loss;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await init("wasm"); // by name: plain init() asks for a browser on Node 20
  defaultDevice("wasm");
  train(learn, { model: new DrawerModel(VOCABULARY, 24, 1), steps: Number(process.argv[2] ?? 100) });
}
