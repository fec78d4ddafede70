import * as tf from "@tensorflow/tfjs";

/** Hidden rows of packed sequences, [T, H], after the last norm: a pre-norm decoder with learned positions. */
export function decoderHidden(weights, { vocabSize, maxPositions, numLayers, numHeads }, ids, cuSeqLens) {
  const { positions, mask } = layout(ids.length, cuSeqLens);
  let x = tf.add(
    tf.matMul(oneHot(ids, vocabSize), weights.embed),
    tf.matMul(oneHot(positions, maxPositions), weights.positions),
  );
  for (let layer = 0; layer < numLayers; layer++) {
    const weight = (name) => weights[`${layer}.${name}`];
    const seen = norm(x, weight("attention_norm"));
    const [query, key, value] = ["query", "key", "value"].map((name) =>
      splitHeads(tf.matMul(seen, weight(name)), numHeads),
    );
    const scores = tf.div(tf.matMul(query, key, false, true), Math.sqrt(query.shape[2]));
    const attended = tf.matMul(tf.softmax(tf.add(scores, mask)), value); // [heads, T, H / heads]
    x = tf.add(x, tf.matMul(tf.reshape(tf.transpose(attended, [1, 0, 2]), x.shape), weight("output")));
    const up = tf.matMul(norm(x, weight("mlp_norm")), weight("up"));
    x = tf.add(x, tf.matMul(tf.mul(up, tf.sigmoid(up)), weight("down")));
  }
  return norm(x, weights.norm);
}

/** Positions within their sequence, [T], and what is added to attention scores, [T, T]: 0 where row may see column. */
function layout(rows, cuSeqLens) {
  const positions = new Int32Array(rows);
  const mask = new Float32Array(rows * rows).fill(-1e9);
  for (let i = 0; i + 1 < cuSeqLens.length; i++)
    for (let row = cuSeqLens[i]; row < cuSeqLens[i + 1]; row++) {
      positions[row] = row - cuSeqLens[i];
      mask.fill(0, row * rows + cuSeqLens[i], row * rows + row + 1);
    }
  return { positions, mask: tf.tensor2d(mask, [rows, rows]) };
}

/** RMS norm. */
function norm(x, gain) {
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-6))), gain);
}

/** [T, H] to [heads, T, H / heads]. */
function splitHeads(x, heads) {
  const [rows, width] = x.shape;
  return tf.transpose(tf.reshape(x, [rows, heads, width / heads]), [1, 0, 2]);
}

// A table is read by a matrix product, because the wasm backend has no gradient for tf.gather. The cast matters: asked for float32, its
// oneHot writes integers' bits.
function oneHot(ids, depth) {
  return tf.cast(tf.oneHot(tf.tensor1d(ids, "int32"), depth), "float32");
}
