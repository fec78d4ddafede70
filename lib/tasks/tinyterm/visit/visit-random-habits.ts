import type { CommandHabit } from "../random-terminal-agent.js";
import type { TerminalView } from "../terminal-view.js";

const on =
  (program: string, names: (view: TerminalView) => readonly string[]) =>
  (view: TerminalView): string[] =>
    names(view).map((name) => `${program} ${name}`);

/** Everything the terminal knows how to answer, mistakes included: a tour of the language, not of the tree. */
export const VISIT_RANDOM_HABITS: readonly CommandHabit[] = [
  { weight: 5, commands: (view) => (view.listings.has(view.cwd) ? [] : ["ls"]) },
  { weight: 1, commands: (view) => (view.listings.has(view.cwd) ? ["ls"] : []) },
  { weight: 5, commands: on("cd", (view) => view.directories()) },
  { weight: 3, commands: (view) => (view.cwd === "" ? [] : ["cd .."]) },
  { weight: 5, commands: on("cat", (view) => view.files()) },
  { weight: 1, commands: on("head -n 1", (view) => view.files()) },
  { weight: 1, commands: on("tail -n 1", (view) => view.files()) },
  { weight: 1, commands: on("sort", (view) => view.files()) },
  { weight: 1, commands: on("wc -l", (view) => view.files()) },
  { weight: 1, commands: on("ls", (view) => view.directories()) },
  { weight: 0.3, commands: () => ["pwd"] },
  { weight: 0.4, commands: () => ["find"] },
  { weight: 1.5, commands: on("cat", (view) => [...view.listings.values()].flat()) },
  { weight: 1, commands: on("cd", (view) => [...view.listings.values()].flat()) },
  { weight: 1, commands: on("submit", (view) => [...view.words.values()]) },
];
