import type { ScriptedAgent } from "../agent/scripted-agent.js";
import type { Environment } from "../environments/environment.js";
import type { SandboxProvider } from "../sandbox/sandbox-provider.js";
import type { Task } from "./task.js";

/** A generator of tasks of one kind. Everything is a pure function of (split, index). */
export interface TaskFamily {
  readonly name: string;
  /** Directory of the tokenizer made for this family. */
  readonly tokenizer: string;
  /** Most tokens of one action under that tokenizer, its stop token included. */
  readonly maxActionTokens: number;
  /** Number of distinct tasks of a split. */
  size(split: Task["split"]): number;
  task(split: Task["split"], index: number): Task;
  createEnvironment(task: Task, sandboxes: SandboxProvider): Environment;
  /** Solves the task seeing only instruction and observations. */
  createExpert(task: Task): ScriptedAgent;
  /** Writes random valid commands, without expertise. */
  createRandomAgent(task: Task, seed: bigint): ScriptedAgent;
  /**
   * Irreducible nats of what the environment says along a recorded episode: -log of the generator's own probability of each answer
   * given everything before it. Exact where it can be computed, else a lower bound; the family says which.
   */
  observationFloor(task: Task, actions: readonly string[]): number;
}
