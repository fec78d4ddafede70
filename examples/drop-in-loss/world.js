// A terminal small enough to read: eight drawers, one word in each. The agent is told a word and opens one drawer; the terminal says
// what was in it. Opening the drawer that holds the word is worth 1.

export const DRAWERS = 8;

// Token ids.
const START = 0;
const word = (index) => 1 + index;
const open = (drawer) => 1 + DRAWERS + drawer;
const CLOSED = 1 + 2 * DRAWERS;
export const VOCABULARY = CLOSED + 1;

const contents = [3, 6, 0, 5, 7, 1, 4, 2];

/** A stream of numbers in [0, 1) from a seed (mulberry32), so that every run repeats. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

/** Plays one episode; masks say who wrote which token. */
export function play(model, target, next) {
  const prompt = [word(target), START];
  const logits = model.forward(Int32Array.from(prompt), Int32Array.of(0, prompt.length));
  const { probabilities } = softmax(logits, VOCABULARY * (prompt.length - 1));
  let left = next();
  let action = VOCABULARY - 1;
  for (let id = 0; id < VOCABULARY; id++) {
    left -= probabilities[id];
    if (left < 0) {
      action = id;
      break;
    }
  }
  const drawer = action - open(0);
  const opened = drawer >= 0 && drawer < DRAWERS;
  const answer = opened ? [word(contents[drawer]), CLOSED] : [CLOSED, CLOSED];
  return {
    ids: Int32Array.from([...prompt, action, ...answer]),
    actionMask: [0, 0, 1, 0, 0],
    observationMask: [0, 0, 0, 1, 1],
    logprobs: Float32Array.of(0, 0, Math.log(probabilities[action]), 0, 0),
    reward: opened && contents[drawer] === target ? 1 : 0,
  };
}

/** Mean negative log-likelihood of what the terminal would say after each drawer: does the model know the world? */
export function observationNll(model) {
  let nats = 0;
  for (let drawer = 0; drawer < DRAWERS; drawer++) {
    const ids = Int32Array.of(word(0), START, open(drawer), word(contents[drawer]), CLOSED);
    const logits = model.forward(ids, Int32Array.of(0, ids.length));
    for (const t of [2, 3]) nats -= Math.log(softmax(logits, t * VOCABULARY).probabilities[ids[t + 1]]);
  }
  return nats / (2 * DRAWERS);
}

/** Softmax of one row of logits. */
export function softmax(logits, offset) {
  let largest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < VOCABULARY; id++) largest = Math.max(largest, logits[offset + id]);
  const probabilities = new Float64Array(VOCABULARY);
  let sum = 0;
  for (let id = 0; id < VOCABULARY; id++) {
    probabilities[id] = Math.exp(logits[offset + id] - largest);
    sum += probabilities[id];
  }
  for (let id = 0; id < VOCABULARY; id++) probabilities[id] /= sum;
  return { probabilities };
}
