import type { ScriptedAgent } from "../agent/scripted-agent.js";
import type { Policy } from "../policy/policy.js";

/** Who writes the actions of a rollout. */
export type RolloutActor =
  | {
      kind: "policy";
      policy: Policy;
      /** Sampling temperature, > 0. */
      temperature: number;
      /** Key of the rollout's random numbers; see `deriveSeed`. */
      seed: bigint;
    }
  | { kind: "script"; agent: ScriptedAgent };
