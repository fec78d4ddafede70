// The loss on logits that a framework has on a GPU: nothing but row vectors and totals crosses to the host.
import { cudaStatus, DeviceStream, DeviceTensor } from "echo-grpo/cuda";
import { echoLoss } from "echo-grpo/loss";

const [T, V] = [4, 1000];

const status = cudaStatus();
if (!status.available) {
  console.log(`This example needs a GPU. ${status.message}`);
  process.exit(0);
}
console.log(status.message);

// Stands for the framework: it has logits [T, V] in memory of its own, written by work on a stream of its own.
const stream = new DeviceStream(0);
const theirs = DeviceTensor.from(
  Float32Array.from({ length: T * V }, (_, i) => Math.sin(i)),
  [T, V],
  "float32",
  { stream },
);
const framework = { pointer: theirs.pointer, stream: stream.pointer };

// Its address and its stream are all that is needed. On the same stream nobody has to wait for anybody.
const logits = DeviceTensor.foreign({ ptr: framework.pointer, device: 0, stream: framework.stream }, [T, V]);
const { loss, metrics } = echoLoss({
  logits,
  targets: Int32Array.of(1, 2, 3, 0),
  actionWeights: Float32Array.of(0.5, 0.5, 0, 0),
  observationWeights: Float32Array.of(0, 0, 0.05, 0),
  advantages: Float32Array.of(1, 1, 0, 0),
  onPolicy: true,
});
console.log(
  `loss ${loss.toFixed(4)}: ${metrics.actionTokens} action tokens, ${metrics.observationTokens} observation tokens`,
);

// The gradient is where the logits were, for the framework's backward. Its rows sum to 0; here they are only looked at.
const gradient = theirs.toHost().data;
for (let t = 0; t < T; t++) {
  const row = gradient.subarray(t * V, (t + 1) * V);
  const sum = row.reduce((total, x) => total + x, 0);
  const largest = row.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  console.log(`row ${t}: largest ${largest.toFixed(4)}, sum ${Math.abs(sum) < 1e-5 ? 0 : sum}`);
}
