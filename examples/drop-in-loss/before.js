// The trainer as it was: GRPO, with a softmax loss written by hand.
import { pathToFileURL } from "node:url";
import { train } from "./train.js";
import { softmax, VOCABULARY } from "./world.js";

const EPSILON = 0.2;

export function learn(model, episodes) {
  const ids = Int32Array.from(episodes.flatMap((episode) => [...episode.ids]));
  const cuSeqLens = Int32Array.of(0, ...episodes.map(({ ids: own }, i) => (i + 1) * own.length));
  const logits = model.forward(ids, cuSeqLens);

  const gradient = new Float32Array(logits.length);
  let loss = 0;
  for (const [i, { actionMask, logprobs, advantage }] of episodes.entries()) {
    const actions = actionMask.reduce((sum, bit) => sum + bit, 0);
    for (let t = 1; t < actionMask.length; t++) {
      if (!actionMask[t]) continue;
      const row = cuSeqLens[i] + t - 1;
      const target = ids[row + 1];
      const { probabilities } = softmax(logits, row * VOCABULARY);
      const ratio = Math.exp(Math.log(probabilities[target]) - logprobs[t]);
      const clipped = Math.min(Math.max(ratio, 1 - EPSILON), 1 + EPSILON);
      const weight = 1 / (episodes.length * actions);
      loss -= weight * Math.min(ratio * advantage, clipped * advantage);
      if (clipped * advantage < ratio * advantage) continue;
      for (let id = 0; id < VOCABULARY; id++)
        gradient[row * VOCABULARY + id] =
          weight * ratio * advantage * (probabilities[id] - (id === target ? 1 : 0));
    }
  }
  model.backward(gradient);
  return loss;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) train(learn);
