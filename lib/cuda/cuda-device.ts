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
  /** What this package has of it, in this process: tensors, and what it keeps for the next calls. */
  heldBytes: number;
}
