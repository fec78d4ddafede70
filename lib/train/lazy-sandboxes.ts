import type { Sandbox } from "../sandbox/sandbox.js";
import type { SandboxProvider } from "../sandbox/sandbox-provider.js";

/** Starts a provider when the first sandbox is asked for, so that families which need none run where none can start. */
export class LazySandboxes implements SandboxProvider {
  private readonly start: () => Promise<SandboxProvider>;
  private provider: Promise<SandboxProvider> | undefined;
  private started: SandboxProvider | undefined;

  constructor(start: () => Promise<SandboxProvider>) {
    this.start = start;
  }

  get layers(): readonly string[] {
    return this.started?.layers ?? [];
  }

  async create(signal?: AbortSignal): Promise<Sandbox> {
    this.provider ??= this.start();
    this.started = await this.provider;
    return this.started.create(signal);
  }

  async dispose(): Promise<void> {
    // One that could not start has nothing to end; whoever asked for a sandbox was told why.
    const provider = await this.provider?.catch(() => undefined);
    await provider?.dispose();
  }
}
