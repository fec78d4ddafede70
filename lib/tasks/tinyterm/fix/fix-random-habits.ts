import type { CommandHabit } from "../random-terminal-agent.js";
import type { TerminalView } from "../terminal-view.js";

/** The path that the script names, as far as the terminal has shown it. */
function namedPath(view: TerminalView): string | undefined {
  const [error = ""] = view.printed.get("bash run") ?? [];
  return view.words.get("run")?.split(" ")[1] ?? /^cat: ([^:]*): /.exec(error)?.[1];
}

/** Ways to write the script: the path it names, or its file in a directory that was seen. */
function guesses(view: TerminalView): string[] {
  const path = namedPath(view);
  if (path === undefined) return [];
  const name = path.slice(path.lastIndexOf("/") + 1);
  const places = [...view.listings.keys()].flatMap((listed) =>
    view.directories(listed).map((directory) => (listed === "" ? directory : `${listed}/${directory}`)),
  );
  return [path, ...places.map((place) => `${place}/${name}`)].map((guess) => `echo cat ${guess} > run`);
}

const atRoot = (view: TerminalView, commands: readonly string[]): readonly string[] =>
  view.cwd === "" ? commands : [];

/** Weights chosen so that about one episode in eight succeeds by luck. */
export const FIX_RANDOM_HABITS: readonly CommandHabit[] = [
  { weight: 2, commands: () => ["ls"] },
  { weight: 2, commands: (view) => view.directories().map((name) => `ls ${name}`) },
  { weight: 1, commands: (view) => view.directories().map((name) => `cd ${name}`) },
  { weight: 3, commands: (view) => (view.cwd === "" ? [] : ["cd .."]) },
  {
    weight: 1,
    commands: (view) => view.files().flatMap((name) => (name === "check" ? [] : [`cat ${name}`])),
  },
  { weight: 1.5, commands: (view) => atRoot(view, ["cat run"]) },
  { weight: 1.5, commands: (view) => atRoot(view, ["bash run"]) },
  { weight: 1, commands: (view) => atRoot(view, ["bash check"]) },
  { weight: 1.5, commands: (view) => atRoot(view, guesses(view)) },
  { weight: 1.2, commands: (view) => (guesses(view).length > 0 ? ["submit done"] : []) },
];
