import { random } from "./world.js";

/** A small language model in plain JavaScript: the next token from the last two, through one hidden layer. */
export class Model {
  constructor(vocabulary, hidden, seed) {
    this.vocabulary = vocabulary;
    this.hidden = hidden;
    const next = random(seed);
    const matrix = (rows, columns) =>
      Float32Array.from({ length: rows * columns }, () => ((next() - 0.5) * 2) / Math.sqrt(hidden));
    /** Rows to add up in the hidden layer for the last token, and for the one before it. */
    this.last = { value: matrix(vocabulary, hidden), grad: new Float32Array(vocabulary * hidden) };
    this.before = { value: matrix(vocabulary, hidden), grad: new Float32Array(vocabulary * hidden) };
    this.head = { value: matrix(vocabulary, hidden), grad: new Float32Array(vocabulary * hidden) };
  }

  parameters() {
    return [this.last, this.before, this.head];
  }

  /** Logits [T, V] of packed sequences. */
  forward(ids, cuSeqLens) {
    const { hidden, vocabulary } = this;
    this.ids = ids;
    this.previous = Int32Array.from(ids, (_, t) => (cuSeqLens.includes(t) ? -1 : ids[t - 1]));
    this.activation = new Float32Array(ids.length * hidden);
    const logits = new Float32Array(ids.length * vocabulary);
    for (let t = 0; t < ids.length; t++) {
      for (let h = 0; h < hidden; h++) {
        const before = this.previous[t] < 0 ? 0 : this.before.value[this.previous[t] * hidden + h];
        this.activation[t * hidden + h] = Math.tanh(this.last.value[ids[t] * hidden + h] + before);
      }
      for (let id = 0; id < vocabulary; id++) {
        let sum = 0;
        for (let h = 0; h < hidden; h++)
          sum += this.head.value[id * hidden + h] * this.activation[t * hidden + h];
        logits[t * vocabulary + id] = sum;
      }
    }
    return logits;
  }

  /** Adds the gradients for `gradient` [T, V], the loss's gradient at the logits of the last forward. */
  backward(gradient) {
    const { hidden, vocabulary, ids, previous, activation } = this;
    for (let t = 0; t < ids.length; t++)
      for (let h = 0; h < hidden; h++) {
        const a = activation[t * hidden + h];
        let sum = 0;
        for (let id = 0; id < vocabulary; id++) {
          const g = gradient[t * vocabulary + id];
          this.head.grad[id * hidden + h] += g * a;
          sum += g * this.head.value[id * hidden + h];
        }
        const inner = sum * (1 - a * a);
        this.last.grad[ids[t] * hidden + h] += inner;
        if (previous[t] >= 0) this.before.grad[previous[t] * hidden + h] += inner;
      }
  }

  /** One step of gradient descent; clears the gradients. */
  update(learningRate) {
    for (const { value, grad } of this.parameters()) {
      for (let i = 0; i < value.length; i++) value[i] -= learningRate * grad[i];
      grad.fill(0);
    }
  }
}
