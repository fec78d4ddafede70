import type { CommandHabit } from "../random-terminal-agent.js";
import type { TerminalView } from "../terminal-view.js";

/** Numbers that the terminal has printed. */
const numbers = (view: TerminalView): string[] =>
  [...view.printed.values()].flatMap((lines) => lines.flatMap((line) => /^\d+/.exec(line) ?? []));

/** Weights chosen so that about one episode in eight succeeds by luck. */
export function countRandomHabits(target: string, word: string | undefined): CommandHabit[] {
  const count = (path: string): string[] => [`wc -l ${path}`, ...(word ? [`grep -c ${word} ${path}`] : [])];
  return [
    { weight: 2, commands: () => ["ls"] },
    { weight: 4, commands: (view) => view.directories().map((name) => `cd ${name}`) },
    { weight: 1.5, commands: (view) => (view.cwd === "" ? [] : ["cd .."]) },
    { weight: 1, commands: (view) => view.files().map((name) => `cat ${name}`) },
    { weight: 3, commands: (view) => view.files().flatMap(count) },
    { weight: 1.5, commands: () => count(target) },
    { weight: 2, commands: (view) => numbers(view).map((number) => `submit ${number}`) },
  ];
}
