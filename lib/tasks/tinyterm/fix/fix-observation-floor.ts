import { acceptAction } from "../../../environments/accept-action.js";
import { resolveInside } from "../../../sandbox/resolve-inside.js";
import { FileTree } from "../file-tree.js";
import { TerminalEvidence } from "../terminal-evidence.js";
import type { PathOutcome } from "../world-evidence.js";
import { fixCommandProblem } from "./fix-command-problem.js";
import type { FixTask } from "./fix-task.js";
import { FIX_WORLDS, type FixWorld } from "./fix-world.js";
import { type ScriptEvidence, scriptProbability } from "./script-probability.js";

/**
 * Irreducible nats of the terminal's answers: -log of the probability of a world that answers these actions as this one does. Exact where
 * `run` is run as the task wrote it, from the root, or as the agent wrote it, `cat` of one file. Else a lower bound: not charged is what
 * `run` prints where from another directory it finds a file, and what other programs print as scripts or are said to have printed by `check`.
 */
export function fixObservationFloor(
  task: FixTask,
  actions: readonly string[],
  world: FixWorld = FIX_WORLDS[task.split],
): number {
  const episode = new FixEpisode(task, world);
  for (const action of actions) {
    const command = acceptAction(action, {
      cwd: episode.terminal.cwd,
      scripts: ["check", "run"],
      commandProblem: fixCommandProblem,
    });
    if (!command.ok) continue;
    if (command.program === "submit") break;
    episode.take(command.text);
  }
  const { terminal, known } = episode;
  return Math.max(
    0,
    -Math.log(terminal.ways.reduce((sum, way) => sum + scriptProbability(way, known, world), 0)),
  );
}

/** What the answers tell, turn by turn. */
class FixEpisode {
  readonly terminal: TerminalEvidence;
  readonly known: ScriptEvidence = { others: new Set() };
  private readonly task: FixTask;
  private readonly tree: FileTree;
  /** What the agent wrote to `run`. */
  private written: string | undefined;

  constructor(task: FixTask, world: FixWorld) {
    this.task = task;
    this.terminal = new TerminalEvidence(task, world.pools);
    this.terminal.take("touch run check");
    const scripts = ["run", "check"].map((path) => ({ path, word: "" }));
    this.tree = new FileTree({ ...task, files: [...task.files, ...scripts] });
  }

  /** Takes in the answer to a command that is run. */
  take(command: string): void {
    const { terminal, known, task } = this;
    const [program, ...operands] = command.split(/[ >]+/);
    if (program === "echo") {
      this.written = command.slice("echo ".length, command.indexOf(">")).trim().replace(/ +/g, " ");
    } else if (program !== "bash") {
      terminal.take(command);
      const reads = (path: string): boolean =>
        this.tree.outcome(terminal.cwd, path) === "file" && this.resolve(path) === "run";
      if (program === "cat" && this.written === undefined && operands.some(reads)) known.script = task.script;
    } else if (this.resolve(operands[0]) === "run") this.run();
    else this.check();
  }

  private run(): void {
    const { terminal, known, task, written } = this;
    if (written !== undefined) {
      if (/^(cat|ls)( |$)/.test(written)) terminal.take(written);
      return;
    }
    const [program, path] = task.script.split(" ");
    const outcome = this.tree.outcome(terminal.cwd, path);
    known.programExists = program === "cat";
    if (program !== "cat") known.program = program;
    else if (outcome !== "file") {
      // The error says the path.
      known.script = task.script;
      this.narrow(terminal.cwd, path, [outcome]);
    }
  }

  private check(): void {
    const { terminal, known, task, written } = this;
    if (written === undefined) {
      known.programExists = task.script.startsWith("cat ");
      return;
    }
    const [program, path, ...more] = written.split(" ");
    if (program !== "cat" || path === undefined || more.length > 0) return;
    const outcome = this.tree.outcome("", path);
    const file = (resolveInside("", path) ?? []).join("/");
    if (outcome !== "file") {
      // All it says is that `cat` failed.
      this.narrow("", path, ["missing", "directory", "not-a-directory"]);
    } else if (file !== "run" && file !== "check") {
      if (file === task.target) {
        this.narrow("", path, ["file"]);
        known.target = file;
      } else {
        const { cwd } = terminal;
        terminal.cwd = "";
        terminal.take(written);
        terminal.cwd = cwd;
        known.others.add(file);
      }
    }
  }

  /** Keeps the ways in which a path leads to one of these. */
  private narrow(from: string, path: string, outcomes: readonly PathOutcome[]): void {
    const { terminal } = this;
    terminal.ways = terminal.ways.flatMap((way) =>
      outcomes.flatMap((outcome) => way.lookUp(from, path, outcome)),
    );
  }

  private resolve(path: string): string {
    return (resolveInside(this.terminal.cwd, path) ?? []).join("/");
  }
}
