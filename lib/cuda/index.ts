export type { CudaDevice } from "./cuda-device.js";
export { type CudaStatus, cudaStatus } from "./cuda-status.js";
export type { DevicePlace } from "./device-place.js";
export { DeviceStream } from "./device-stream.js";
export { DeviceTensor } from "./device-tensor.js";
