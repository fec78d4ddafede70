import type { NativeAsync } from "./native-async.js";
import type { NativeCore } from "./native-core.js";
import type { NativeCuda } from "./native-cuda.js";
import type { NativeDeviceOptim } from "./native-device-optim.js";
import type { NativeGemm } from "./native-gemm.js";
import type { NativeLinearLoss } from "./native-linear-loss.js";
import type { NativeLoss } from "./native-loss.js";
import type { NativeDecoder, NativeDecoderConfig } from "./native-model.js";
import type { NativeOptim } from "./native-optim.js";

/** Everything build/Release/echo_grpo.node exports. */
export interface NativeAddon
  extends NativeAsync,
    NativeCore,
    NativeCuda,
    NativeDeviceOptim,
    NativeGemm,
    NativeLinearLoss,
    NativeLoss,
    NativeOptim {
  createDecoder(config: NativeDecoderConfig): NativeDecoder;
}
