import type { CommandHabit } from "../random-terminal-agent.js";
import type { TerminalView } from "../terminal-view.js";

const on =
  (program: string, names: (view: TerminalView) => readonly string[]) =>
  (view: TerminalView): string[] =>
    names(view).map((name) => `${program} ${name}`);

/** Lines of a program with two operands, each pair of names once. */
const onPairs =
  (
    line: (left: string, right: string) => string,
    lefts: (view: TerminalView) => readonly string[],
    rights: (view: TerminalView) => readonly string[],
  ) =>
  (view: TerminalView): string[] =>
    lefts(view).flatMap((left) => rights(view).map((right) => line(left, right)));

/** First lines that were read, but for those of scripts. */
const readWords = (view: TerminalView): string[] =>
  [...view.words.values()].filter((line) => !line.includes(" "));
const places = (view: TerminalView): string[] => [...view.directories(), ...(view.cwd === "" ? [] : [".."])];
const hasScript = (view: TerminalView): boolean => view.cwd === "" && view.files().includes("run");
/** Paths seen from the root, of at most one directory: longer ones make actions too long. */
const seenPaths = (view: TerminalView): string[] =>
  [...view.listings]
    .filter(([path]) => !path.includes("/"))
    .flatMap(([path, names]) => names.map((name) => (path === "" ? name : `${path}/${name}`)));

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
  {
    weight: 2,
    commands: onPairs(
      (word, file) => `grep -c ${word} ${file}`,
      readWords,
      (view) => view.files(),
    ),
  },
  { weight: 1, commands: on("ls", (view) => view.directories()) },
  {
    weight: 1,
    commands: onPairs(
      (file, place) => `mv ${file} ${place}`,
      (view) => view.files(),
      places,
    ),
  },
  {
    weight: 1,
    commands: onPairs(
      (file, place) => `cp ${file} ${place}`,
      (view) => view.files(),
      places,
    ),
  },
  { weight: 0.7, commands: () => ["touch here"] },
  { weight: 2, commands: (view) => (hasScript(view) ? ["bash run", "cat run"] : []) },
  {
    weight: 1.5,
    commands: (view) => (hasScript(view) ? seenPaths(view).map((path) => `echo cat ${path} > run`) : []),
  },
  { weight: 0.3, commands: () => ["pwd"] },
  { weight: 0.4, commands: () => ["find"] },
  { weight: 1.5, commands: on("cat", (view) => [...view.listings.values()].flat()) },
  { weight: 1, commands: on("cd", (view) => [...view.listings.values()].flat()) },
  { weight: 1, commands: on("submit", readWords) },
];
