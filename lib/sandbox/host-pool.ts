import type { SandboxProvider } from "./sandbox-provider.js";
import type { TreeSandbox } from "./tree-sandbox.js";
import { WorldHost } from "./world-host.js";
import type { WorldState } from "./world-state.js";

/** The real sandboxes behind shared ones: brought from state to state, as they are needed. */
export class HostPool {
  private readonly sandboxes: SandboxProvider<TreeSandbox>;
  private readonly spare: number;
  private users = 0;
  /** The one used longest ago first. */
  private readonly hosts = new Set<WorldHost>();
  private readonly ending = new Set<Promise<void>>();

  /** @param spare how many may stay when fewer users than that are left. */
  constructor(sandboxes: SandboxProvider<TreeSandbox>, spare: number) {
    this.sandboxes = sandboxes;
    this.spare = spare;
  }

  enter(): void {
    this.users++;
  }

  /** Ends what is not needed any more. @throws what ending one threw. */
  async leave(): Promise<void> {
    this.users--;
    for (const host of this.hosts) {
      if (this.hosts.size <= Math.max(this.users, this.spare)) break;
      if (isIdle(host)) this.end(host);
    }
    const ending = [...this.ending];
    const ended = await Promise.allSettled(ending);
    for (const one of ending) this.ending.delete(one);
    for (const outcome of ended) if (outcome.status === "rejected") throw outcome.reason;
  }

  /** A sandbox for something that leaves `state` as it is; others may be doing the same there. It has yet to be brought there. */
  toRead(state: WorldState): WorldHost {
    const host = this.find((one) => one.state === state && !one.owned) ?? this.find(isIdle) ?? this.add();
    host.state = state;
    return this.use(host);
  }

  /** A sandbox for one user alone, who says which state it is in afterwards. It has yet to be brought into `state`. */
  toChange(state: WorldState): WorldHost {
    const host = this.find((one) => one.state === state && isIdle(one)) ?? this.find(isIdle) ?? this.add();
    host.state = undefined;
    return this.use(host);
  }

  /** Ends a sandbox that is of no more use. */
  end(host: WorldHost): void {
    this.hosts.delete(host);
    const ended = host.dispose();
    this.ending.add(ended);
    // What goes wrong is told to one who leaves.
    ended.catch(() => {});
  }

  private find(wanted: (host: WorldHost) => boolean): WorldHost | undefined {
    for (const host of this.hosts) if (wanted(host)) return host;
    return undefined;
  }

  private use(host: WorldHost): WorldHost {
    this.hosts.delete(host);
    this.hosts.add(host);
    return host;
  }

  private add(): WorldHost {
    return new WorldHost(this.sandboxes.create());
  }
}

const isIdle = (host: WorldHost): boolean => host.pending === 0 && !host.owned;
