import type { CommandHabit } from "../random-terminal-agent.js";

/** Weights chosen so that about one episode in five succeeds by luck. */
export function findRandomHabits(target: string): CommandHabit[] {
  return [
    { weight: 2, commands: () => ["ls"] },
    { weight: 4, commands: (view) => view.directories().map((name) => `cd ${name}`) },
    { weight: 1.5, commands: (view) => (view.cwd === "" ? [] : ["cd .."]) },
    { weight: 3, commands: (view) => view.files().map((name) => `cat ${name}`) },
    { weight: 1.5, commands: () => [`cat ${target}`] },
    { weight: 2, commands: (view) => [...view.words.values()].map((word) => `submit ${word}`) },
  ];
}
