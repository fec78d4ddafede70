/** Listens for Ctrl-C and SIGTERM: the first asks the run to end after its step, the second ends the process at once. */
export class StopRequest {
  /** The signal that asked to stop. */
  signal: "SIGINT" | "SIGTERM" | undefined;
  private readonly onFirst: (signal: string) => void;

  constructor(onFirst: (signal: string) => void) {
    this.onFirst = onFirst;
  }

  /** Exit status by convention: 128 + the signal's number. */
  static exitCode(signal: "SIGINT" | "SIGTERM"): number {
    return signal === "SIGINT" ? 130 : 143;
  }

  listen(): void {
    process.on("SIGINT", this.handle);
    process.on("SIGTERM", this.handle);
  }

  unlisten(): void {
    process.off("SIGINT", this.handle);
    process.off("SIGTERM", this.handle);
  }

  private readonly handle = (signal: "SIGINT" | "SIGTERM"): void => {
    // Sandboxes die with this process, so leaving without ceremony leaves nothing behind.
    if (this.signal) process.exit(StopRequest.exitCode(signal));
    this.signal = signal;
    this.onFirst(signal);
  };
}
