import type { DeviceTensor } from "../cuda/device-tensor.js";
import type { LinearHead } from "./linear-head.js";

/** `LinearHead` on a GPU: both tensors on one device and stream. */
export interface DeviceLinearHead extends Omit<LinearHead, "hidden" | "weight"> {
  /** [T, D] */
  hidden: DeviceTensor<"float32"> | DeviceTensor<"bfloat16">;
  /** [V, D] */
  weight: DeviceTensor<"float32"> | DeviceTensor<"bfloat16">;
}
