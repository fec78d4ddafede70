import type { ScriptedAgent } from "../../lib/agent/scripted-agent.js";
import type { Environment } from "../../lib/environments/environment.js";
import { CounterRandom } from "../../lib/random/counter-random.js";
import type { SandboxProvider } from "../../lib/sandbox/sandbox-provider.js";
import type { Task } from "../../lib/tasks/task.js";
import type { TaskFamily } from "../../lib/tasks/task-family.js";
import { EchoEnvironment, type EchoOptions } from "./echo-environment.js";
import { ListAgent } from "./list-agent.js";

/** Echo tasks: solved by an action with an "a" in it. */
export class EchoFamily implements TaskFamily {
  readonly name = "echo";
  readonly tokenizer = "none: tests bring their own";
  readonly maxActionTokens = 4;
  private readonly world: (index: number) => EchoOptions;

  constructor(world: (index: number) => EchoOptions = () => ({})) {
    this.world = world;
  }

  size(split: Task["split"]): number {
    return split === "train" ? 1000 : 40;
  }

  task(split: Task["split"], index: number): Task {
    return { id: `echo/${split}/${index}`, family: this.name, split, instruction: "say a", maxTurns: 3 };
  }

  createEnvironment(task: Task): Environment {
    return new EchoEnvironment(this.world(Number(task.id.split("/")[2])));
  }

  createExpert(): ScriptedAgent {
    return new ListAgent(["ba", "g", "b"]);
  }

  createRandomAgent(_task: Task, seed: bigint): ScriptedAgent {
    const random = new CounterRandom(seed);
    return new ListAgent([0, 1, 2].map(() => random.pick(["b", "c", "dd"])));
  }

  /** Pretends that each character of an answer hides half a nat. */
  observationFloor(_task: Task, actions: readonly string[]): number {
    return actions.filter((action) => !action.includes("g")).join("").length / 2;
  }
}

export const noSandboxes: SandboxProvider = {
  layers: [],
  create: () => Promise.reject(new Error("echo tasks need no sandbox")),
  dispose: async () => {},
};
