/** What `npm run study:tinyterm` compares. */
export const STUDY = {
  start: "assets/tinyterm/start",
  /** Expert trajectories that `sft` imitates. */
  demonstrations: 250,
  evaluation: { tasks: 640, expertTasks: 320 },
  /**
   * Recipes in examples/tinyterm, in the order in which they are trained; `after`: from what another one leaves.
   */
  arms: [
    { name: "grpo", label: "GRPO" },
    { name: "echo", label: "ECHO" },
    { name: "env-only", label: "env-only" },
    { name: "sft", label: "SFT" },
    { name: "sft-grpo", label: "SFT + GRPO", after: "sft" },
    { name: "sft-echo", label: "SFT + ECHO", after: "sft" },
  ] as readonly { name: string; label: string; after?: string }[],
};
