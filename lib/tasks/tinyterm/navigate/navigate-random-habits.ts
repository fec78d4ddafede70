import type { CommandHabit } from "../random-terminal-agent.js";

/** Weights chosen so that about one episode in ten succeeds by luck. */
export function navigateRandomHabits(target: string): CommandHabit[] {
  return [
    { weight: 2, commands: () => ["ls"] },
    { weight: 3, commands: (view) => view.directories().map((name) => `ls ${name}`) },
    { weight: 3, commands: (view) => view.directories().map((name) => `cd ${name}`) },
    { weight: 1.5, commands: (view) => (view.cwd === "" ? [] : ["cd .."]) },
    { weight: 0.5, commands: (view) => view.files().map((name) => `cat ${name}`) },
    { weight: 0.5, commands: () => ["touch here"] },
    { weight: 1, commands: (view) => view.directories().map((name) => `touch ${name}/here`) },
    { weight: 0.5, commands: () => [`touch ${target}/here`] },
    // Not before it has looked around: a policy that imitates this must live to see what its commands do.
    { weight: 1, commands: (view) => (view.listings.size > 1 ? ["submit done"] : []) },
  ];
}
