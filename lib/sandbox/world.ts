import type { SandboxProvider } from "./sandbox-provider.js";
import { WorldHost } from "./world-host.js";
import type { WorldState } from "./world-state.js";

/** The real sandboxes behind the shared sandboxes that began with the same files. They end with the last of these. */
export class World {
  private readonly sandboxes: SandboxProvider;
  private users = 0;
  private readonly hosts = new Set<WorldHost>();
  private readonly ending = new Set<Promise<void>>();

  constructor(sandboxes: SandboxProvider) {
    this.sandboxes = sandboxes;
  }

  enter(): void {
    this.users++;
  }

  /** Ends every sandbox when nobody is left. @throws what ending one threw. */
  async leave(): Promise<void> {
    if (--this.users > 0) return;
    for (const host of this.hosts) this.end(host);
    const ended = await Promise.allSettled(this.ending);
    this.ending.clear();
    for (const outcome of ended) if (outcome.status === "rejected") throw outcome.reason;
  }

  /** A sandbox in `state` to read from, as others may do at the same time. */
  toRead(state: WorldState): WorldHost {
    return this.find(state) ?? this.add(state);
  }

  /**
   * A sandbox in `state` for one user alone, who says which state it is in afterwards. One that others may still want to read from is
   * left where it is, unless `spare` says that a new one later is cheaper than a new one now.
   */
  toChange(state: WorldState, spare: boolean): WorldHost {
    const host = (spare || state.occupants <= 1 ? this.find(state) : undefined) ?? this.add(state);
    host.state = undefined;
    return host;
  }

  /** Ends a sandbox that is of no more use. */
  end(host: WorldHost): void {
    this.hosts.delete(host);
    const ended = host.dispose();
    // What goes wrong is told to the last who leaves.
    ended.catch(() => {});
    this.ending.add(ended);
  }

  private find(state: WorldState): WorldHost | undefined {
    for (const host of this.hosts) if (host.state === state) return host;
    return undefined;
  }

  private add(state: WorldState): WorldHost {
    // No more at once than there would be if nothing was shared.
    if (this.hosts.size >= this.users) {
      const idle = [...this.hosts].filter((host) => host.pending === 0 && !host.owned);
      const spare = idle.find((host) => !host.state?.occupants) ?? idle[0];
      if (spare) this.end(spare);
    }
    const host = new WorldHost(this.sandboxes.create(), state);
    this.hosts.add(host);
    return host;
  }
}
