/** What a kernel or a whole call took on a device, and beside a copy in the same rounds. Times are absent where it failed. */
export interface GpuMeasurement {
  kernel: string;
  dtype: string;
  gradientDtype?: string;
  /** Median, and the quantiles 0.2 and 0.8. */
  ms?: number;
  p20?: number;
  p80?: number;
  usefulGBps?: number;
  copyGBps?: number;
  shareOfCopy?: number;
  /** Null where it could not be asked for. */
  peakExtraMiB?: number | null;
  error?: string;
}
