/** A device that CUDA can use. */
export interface CudaDevice {
  /** Its number in `device` of a DeviceTensor: CUDA's, after CUDA_VISIBLE_DEVICES. */
  index: number;
  name: string;
  /** "9.0". */
  computeCapability: string;
  multiprocessors: number;
  memoryBytes: number;
  /** At the time of the call, whoever uses the rest. */
  freeBytes: number;
}
