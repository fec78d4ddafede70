/** A piece of work for the agent. Families add their own fields by extending this. */
export interface Task {
  /** Stable and unique within a run, for example `tinyterm/find/train/000123`. */
  id: string;
  /** `tinyterm/find` or `maze`. */
  family: string;
  split: "train" | "val" | "ood";
  /** What the agent is told. */
  instruction: string;
  /** 1 easy to 3 hard; absent where a family does not grade its tasks. */
  difficulty?: 1 | 2 | 3;
  /** Most turns before the rollout ends and is verified. */
  maxTurns: number;
}
