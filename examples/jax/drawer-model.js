import { nn, numpy as np, tree } from "@jax-js/jax";
import { random } from "../drop-in-loss/world.js";

/** The model of ../drop-in-loss in jax-js: the next token from the last two, through one hidden layer. */
export class DrawerModel {
  constructor(vocabulary, hidden, seed) {
    const next = random(seed);
    const matrix = (rows, columns) =>
      np
        .array(Float32Array.from({ length: rows * columns }, () => ((next() - 0.5) * 2) / Math.sqrt(hidden)))
        .reshape([rows, columns]);
    this.vocabulary = vocabulary;
    this.params = {
      last: matrix(vocabulary, hidden),
      before: matrix(vocabulary, hidden),
      head: matrix(vocabulary, hidden),
    };
  }

  /** The model on packed sequences, as a function of its parameters: logits [T, V]. */
  on(ids, cuSeqLens) {
    const starts = new Set(cuSeqLens);
    const previous = Int32Array.from(ids, (_, t) => (starts.has(t) ? -1 : ids[t - 1]));
    return ({ last, before, head }) => {
      const hidden = np.tanh(
        np.add(np.matmul(this.oneHot(ids), last), np.matmul(this.oneHot(previous), before)),
      );
      return np.matmul(hidden, np.transpose(head));
    };
  }

  /** Logits as numbers, for sampling. */
  forward(ids, cuSeqLens) {
    return this.on(ids, cuSeqLens)(tree.ref(this.params)).dataSync();
  }

  /** One step of gradient descent along what `learn` left in `gradient`. */
  update(learningRate) {
    this.params = tree.map(
      (param, gradient) => np.subtract(param, np.multiply(gradient, learningRate)),
      this.params,
      this.gradient,
    );
    this.gradient = undefined;
  }

  // A row of -1 is all zeros.
  oneHot(ids) {
    return nn.oneHot(np.array(ids, { dtype: np.int32 }), this.vocabulary);
  }
}
