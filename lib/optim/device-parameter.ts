import type { DeviceTensor } from "../cuda/device-tensor.js";

type Float = DeviceTensor<"float32" | "bfloat16">;

/**
 * A tensor of a GPU for an optimiser. Beside a bfloat16 value there is a float32 master, as for `Bfloat16Parameter`, and the gradient may be of
 * either type; beside a float32 value it is float32.
 */
export interface DeviceParameter {
  /** Unique within the optimiser. */
  name: string;
  value: Float;
  /** As many elements as `value`, on its device and stream. */
  grad: Float;
  /** Whether weight decay applies. */
  decay: boolean;
  /** That of `value`, which decides. */
  dtype?: "float32" | "bfloat16";
}
