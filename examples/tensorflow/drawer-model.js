import * as tf from "@tensorflow/tfjs";
import { random } from "../drop-in-loss/world.js";

/** The model of ../drop-in-loss in TensorFlow.js: the next token from the last two, through one hidden layer. */
export class DrawerModel {
  constructor(vocabulary, hidden, seed) {
    const next = random(seed);
    const matrix = (rows, columns) =>
      tf.variable(
        tf.tensor2d(
          Float32Array.from({ length: rows * columns }, () => ((next() - 0.5) * 2) / Math.sqrt(hidden)),
          [rows, columns],
        ),
      );
    this.vocabulary = vocabulary;
    this.last = matrix(vocabulary, hidden);
    this.before = matrix(vocabulary, hidden);
    this.head = matrix(vocabulary, hidden);
  }

  get variables() {
    return [this.last, this.before, this.head];
  }

  /** Logits of packed sequences as a tensor, [T, V]. */
  logits(ids, cuSeqLens) {
    const starts = new Set(cuSeqLens);
    const previous = Int32Array.from(ids, (_, t) => (starts.has(t) ? -1 : ids[t - 1]));
    const hidden = tf.tanh(
      tf.add(tf.matMul(this.oneHot(ids), this.last), tf.matMul(this.oneHot(previous), this.before)),
    );
    return tf.matMul(hidden, this.head, false, true);
  }

  /** The same as numbers, for sampling. */
  forward(ids, cuSeqLens) {
    return tf.tidy(() => this.logits(ids, cuSeqLens).dataSync());
  }

  /** One step of gradient descent along what `learn` left in `gradients`. */
  update(learningRate) {
    const optimizer = tf.train.sgd(learningRate);
    optimizer.applyGradients(this.gradients);
    tf.dispose([this.gradients, optimizer]);
    this.gradients = undefined;
  }

  // A matrix product, because the wasm backend has no gradient for tf.gather. A row of -1 is all zeros.
  oneHot(ids) {
    return tf.cast(tf.oneHot(tf.tensor1d(ids, "int32"), this.vocabulary), "float32");
  }
}
