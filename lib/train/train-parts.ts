import type { Harness } from "../agent/harness.js";
import type { ReferenceModel } from "../model/reference-model.js";
import type { TrainableModel } from "../model/trainable-model.js";
import type { Policy } from "../policy/policy.js";
import type { SandboxProvider } from "../sandbox/sandbox-provider.js";
import type { TaskFamily } from "../tasks/task-family.js";

/** What the trainer trains with: the seams, and nothing behind them. */
export interface TrainParts {
  model: TrainableModel;
  /** Opens what `model.save` wrote as weights that stay as they are. Without it there can be no `klCoefficient`. */
  openReference?(directory: string): Promise<ReferenceModel>;
  /** Samples from the weights of `model`. */
  policy: Policy;
  family: TaskFamily;
  harness: Harness;
  sandboxes: SandboxProvider;
  /** Ends the policy and every sandbox. */
  dispose(): Promise<void>;
}
