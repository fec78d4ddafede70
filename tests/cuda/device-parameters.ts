import { DeviceTensor } from "../../lib/cuda/device-tensor.js";
import { float32ToBfloat16 } from "../../lib/floats/float32-to-bfloat16.js";
import type { Bfloat16Parameter } from "../../lib/optim/bfloat16-parameter.js";
import type { DeviceParameter } from "../../lib/optim/device-parameter.js";
import type { OptimizerParameter } from "../../lib/optim/optimizer-parameter.js";
import { CounterRandom } from "../../lib/random/counter-random.js";

export type HostParameter = OptimizerParameter | Bfloat16Parameter;

/** The same parameters on the host and on the device. */
export interface Twins {
  host: HostParameter[];
  device: DeviceParameter[];
  /** Gradients of both, drawn anew. */
  draw: (scale: number) => void;
  /** Element `at` of a gradient, on both. */
  poison: (i: number, at: number, value: number) => void;
}

const tensor = (values: Float32Array | Uint16Array): DeviceParameter["value"] =>
  values instanceof Float32Array
    ? DeviceTensor.from(values, [values.length])
    : DeviceTensor.from(values, [values.length], "bfloat16");

const send = (to: DeviceParameter["grad"], values: Float32Array | Uint16Array): void =>
  (to as DeviceTensor).copyFrom(values as Float32Array);

/** Float32 ones, and bfloat16 ones with gradients of either type. */
export function twins(sizes: readonly number[], seed = 1n): Twins {
  const random = new CounterRandom(seed);
  const numbers = (n: number, scale = 1): Float32Array =>
    Float32Array.from({ length: n }, () => (random.next() - 0.5) * scale);
  const host = sizes.map((n, i): HostParameter => {
    const common = { name: `p${i}`, decay: i % 2 === 0 };
    if (i % 3 === 0) return { ...common, value: numbers(n), grad: new Float32Array(n) };
    const grad = i % 3 === 1 ? new Float32Array(n) : new Uint16Array(n);
    return { ...common, value: float32ToBfloat16(numbers(n)), grad, dtype: "bfloat16" };
  });
  const device = host.map(({ name, decay, value, grad }) => ({
    name,
    decay,
    value: tensor(value),
    grad: tensor(grad),
  }));
  return {
    host,
    device,
    draw: (scale) => {
      for (const [i, { grad }] of host.entries()) {
        const drawn = numbers(grad.length, scale);
        grad.set(grad instanceof Uint16Array ? float32ToBfloat16(drawn) : drawn);
        send(device[i].grad, grad);
      }
    },
    poison: (i, at, value) => {
      const { grad } = host[i];
      grad[at] = grad instanceof Uint16Array ? float32ToBfloat16(Float32Array.of(value))[0] : value;
      send(device[i].grad, grad);
    },
  };
}

export const valuesOf = (parameters: readonly DeviceParameter[]): (Float32Array | Uint16Array)[] =>
  parameters.map(({ value }) => value.toHost().data);
