import { Model } from "./model.js";
import { DRAWERS, observationNll, play, random, VOCABULARY } from "./world.js";

const GROUP = 8;

/** Plays, scores and learns; `learn(model, episodes)` adds the gradients of one step to the model. */
export function train(learn, options = {}) {
  const { steps = 300, seed = 1, log = console.log, model = new Model(VOCABULARY, 24, seed) } = options;
  const next = random(seed + 1000);
  let success = 0;
  for (let step = 1; step <= steps; step++) {
    const episodes = [];
    for (let target = 0; target < DRAWERS; target++) {
      const group = Array.from({ length: GROUP }, () => play(model, target, next));
      const advantages = groupAdvantages(group.map(({ reward }) => reward));
      for (const [i, episode] of group.entries()) episodes.push({ ...episode, advantage: advantages[i] });
    }
    success = episodes.reduce((sum, { reward }) => sum + reward, 0) / episodes.length;
    learn(model, episodes);
    model.update(1.5);
    if (step === 1 || step % 50 === 0)
      log(`step ${step}: success ${success.toFixed(2)}, observation nll ${observationNll(model).toFixed(2)}`);
  }
  return { model, success, observationNll: observationNll(model) };
}

function groupAdvantages(rewards) {
  const mean = rewards.reduce((a, b) => a + b) / rewards.length;
  const variance = rewards.reduce((sum, reward) => sum + (reward - mean) ** 2, 0) / (rewards.length - 1);
  return rewards.map((reward) => (variance === 0 ? 0 : (reward - mean) / (Math.sqrt(variance) + 1e-6)));
}
