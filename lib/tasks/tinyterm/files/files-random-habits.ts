import type { CommandHabit } from "../random-terminal-agent.js";
import { relativePath } from "../relative-path.js";
import type { TerminalView } from "../terminal-view.js";

/** Weights chosen so that about one episode in six succeeds by luck. */
export function filesRandomHabits(instruction: string): CommandHabit[] {
  const [verb, file, goal] = instruction.split(" ");
  const asked = verb === "copy" ? "cp" : "mv";
  const newName = verb === "rename" ? goal : goal.split("/")[1];
  return [
    { weight: 2, commands: (view) => (view.listings.has(view.cwd) ? [] : ["ls"]) },
    { weight: 0.5, commands: () => ["ls"] },
    {
      weight: 4,
      commands: (view) =>
        view
          .directories()
          .filter((name) => !view.listings.has(view.pathOf(name)))
          .map((name) => `ls ${name}`),
    },
    { weight: 0.5, commands: (view) => view.directories().map((name) => `ls ${name}`) },
    { weight: 1.5, commands: (view) => view.directories().map((name) => `cd ${name}`) },
    { weight: 1, commands: (view) => (view.cwd === "" ? [] : ["cd .."]) },
    { weight: 0.5, commands: (view) => view.files().map((name) => `cat ${name}`) },
    // Any listed file, anywhere.
    { weight: 0.3, commands: (view) => transfers(view, ["mv", "cp"], listedFiles(view)) },
    // What was asked for, anywhere.
    {
      weight: 1,
      commands: (view) =>
        transfers(
          view,
          [asked],
          listedFiles(view).filter((path) => path.split("/").at(-1) === file),
          newName,
        ),
    },
    // Not before it has looked around: a policy that imitates this must live to see what its commands do.
    { weight: 1, commands: (view) => (view.listings.size > 1 ? ["submit done"] : []) },
  ];
}

const listedFiles = (view: TerminalView): string[] =>
  [...view.listings.keys()].flatMap((path) => view.files(path).map((name) => join(path, name)));

/** Every transfer of these files into a listed directory, under the new name where there is one; those only that fit in an action. */
function transfers(
  view: TerminalView,
  programs: readonly string[],
  files: readonly string[],
  newName?: string,
): string[] {
  const parents = [...view.listings.keys()].flatMap((path) =>
    view.directories(path).map((name) => join(path, name)),
  );
  return programs.flatMap((program) =>
    files.flatMap((path) =>
      parents.flatMap((parent) => {
        // A file is not put where it is.
        if (join(parent, newName ?? path.slice(path.lastIndexOf("/") + 1)) === path) return [];
        const from = relativePath(view.cwd, path);
        const to = relativePath(view.cwd, newName === undefined ? parent : join(parent, newName));
        return `${from}/${to}`.split("/").length <= 4 ? [`${program} ${from} ${to}`] : [];
      }),
    ),
  );
}

const join = (parent: string, name: string): string => (parent === "" ? name : `${parent}/${name}`);
