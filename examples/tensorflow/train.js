// The trainer of ../drop-in-loss with a TensorFlow.js model: same world, same loop, echo-grpo's loss as an op of TensorFlow.js.
import { pathToFileURL } from "node:url";
import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-wasm";
import { rolesFromMasks, stepWeights } from "echo-grpo/loss";
import { train } from "../drop-in-loss/train.js";
import { VOCABULARY } from "../drop-in-loss/world.js";
import { DrawerModel } from "./drawer-model.js";
import { echoLossTf } from "./echo-loss-tf.js";

/** Leaves the gradients of one step in `model.gradients`; returns the loss. */
export function learn(model, episodes, lambda = 0.05) {
  const sequences = episodes.map(({ ids, actionMask, observationMask, logprobs, advantage }) => ({
    ids,
    roles: rolesFromMasks({ action: actionMask, observation: observationMask }),
    advantage,
    oldLogprobs: logprobs,
  }));
  const rows = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const [micro] = stepWeights({ sequences, lambda }).microBatches({ maxTokens: rows });
  const { value, grads } = tf.variableGrads(
    () => echoLossTf(model.logits(micro.ids, micro.cuSeqLens), micro.rows).loss,
    model.variables,
  );
  model.gradients = grads;
  const [loss] = value.dataSync();
  value.dispose();
  return loss;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await tf.setBackend("wasm");
  train(learn, { model: new DrawerModel(VOCABULARY, 24, 1), steps: Number(process.argv[2] ?? 100) });
}
