import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SpecialTokenHarness } from "../../../lib/agent/special-token-harness.js";
import { recordTrajectories } from "../../../lib/eval/record-trajectories.js";
import { CounterRandom } from "../../../lib/random/counter-random.js";
import { LocalSandboxProvider } from "../../../lib/sandbox/local-sandbox-provider.js";
import { parseCommand } from "../../../lib/sandbox/parse-command.js";
import type { SandboxProvider } from "../../../lib/sandbox/sandbox-provider.js";
import type { Task } from "../../../lib/tasks/task.js";
import { taskFamily } from "../../../lib/tasks/task-families.js";
import { filesCommandProblem } from "../../../lib/tasks/tinyterm/files/files-command-problem.js";
import type { FilesTask } from "../../../lib/tasks/tinyterm/files/files-task.js";
import { navigateCommandProblem } from "../../../lib/tasks/tinyterm/navigate/navigate-command-problem.js";
import type { NavigateTask } from "../../../lib/tasks/tinyterm/navigate/navigate-task.js";
import { Tokenizer } from "../../../lib/tokens/tokenizer.js";
import { SimulatedShell } from "./simulated-shell.js";

const linux = process.platform === "linux";
if (!linux) console.warn("SKIPPED: no local sandbox here; families that change files are not verified");

describe.skipIf(!linux).each([
  { name: "tinyterm/navigate", programs: ["touch", "touch"], problem: navigateCommandProblem },
  { name: "tinyterm/files", programs: ["mv", "cp", "mv"], problem: filesCommandProblem },
])("$name in a real bash", ({ name, programs, problem }) => {
  let sandboxes: SandboxProvider;
  beforeAll(async () => {
    sandboxes = await LocalSandboxProvider.start();
  });
  afterAll(() => sandboxes?.dispose());

  const family = taskFamily(name);
  const tokenizer = Tokenizer.fromDirectory(family.tokenizer);
  const harness = new SpecialTokenHarness(tokenizer, family);
  const record = (agent: "expert" | "random", split: Task["split"], tasks: number) =>
    recordTrajectories({ family, split, tasks, agent, harness, sandboxes, seed: 3, concurrency: 16 });

  /** The reward of an episode of these actions. */
  async function play(task: Task, actions: readonly string[]): Promise<number> {
    const environment = family.createEnvironment(task, sandboxes);
    await environment.reset();
    for (const action of actions) {
      const { segments } = await environment.step(action);
      expect(
        segments.filter(({ role }) => role === "warning"),
        action,
      ).toEqual([]);
    }
    const reward = await environment.score();
    await environment.dispose();
    return reward;
  }

  it("is solved by the expert in every split, in time, and by doing nothing it is not", async () => {
    for (const split of ["train", "val", "ood"] as const) {
      const { trajectories, excluded, floor } = await record("expert", split, 20);
      expect(excluded).toEqual([]);
      for (const { reward, turns, task, warnings, stopReason } of trajectories) {
        expect({ reward, warnings, stopReason }).toEqual({ reward: 1, warnings: 0, stopReason: "submitted" });
        expect(turns).toBeLessThanOrEqual(family.task(split, task).maxTurns - 3);
      }
      expect(floor.nll).toBeGreaterThan(0.3);
      expect(floor.nll).toBeLessThan(0.7);
      for (let index = 0; index < 6; index++) {
        expect(await play(family.task(split, index), [])).toBe(0);
        expect(await play(family.task(split, index), ["submit done"])).toBe(0);
      }
    }
  });

  it("is solved now and then by random commands", async () => {
    const { trajectories } = await record("random", "train", 120);
    const solved = trajectories.filter(({ reward }) => reward === 1).length / trajectories.length;
    expect(solved).toBeGreaterThan(0.05);
    expect(solved).toBeLessThan(0.25);
    expect(trajectories.filter(({ warnings }) => warnings > 0)).toEqual([]);

    const lengths = trajectories
      .flatMap(({ roles }) => roles.split(/[^a]+/).filter((run) => run !== ""))
      .map((run) => run.length);
    expect(lengths.sort((a, b) => a - b)[lengths.length >> 1]).toBeLessThanOrEqual(4);
    // Every word is one token, so nothing said here falls apart into letters.
    const letter = /^[a-zA-Z]$/;
    for (const { ids } of trajectories)
      expect(ids.map((id) => tokenizer.decode([id])).filter((text) => letter.test(text))).toEqual([]);
  });

  it("repeats 50 rollouts byte for byte", async () => {
    const once = async (): Promise<string> => {
      const { trajectories, floor } = await record("random", "ood", 50);
      return JSON.stringify([trajectories, floor]);
    };
    expect(await once()).toBe(await once());
  });

  it("says what the simulated shell of the floor's tests says", async () => {
    const random = new CounterRandom(77n);
    let ran = 0;
    for (let index = 0; index < 10; index++) {
      const task = family.task("ood", index) as FilesTask | NavigateTask;
      const environment = family.createEnvironment(task, sandboxes);
      await environment.reset();
      const shell = new SimulatedShell(task);
      const real = [...task.directories, ...task.files.map(({ path }) => path)];
      const names = [...real.flatMap((path) => path.split("/")), "..", ".", "here", "nothing"];
      const path = (): string =>
        random.next() < 0.6
          ? random.pick(["", "", "../"]) + random.pick(real)
          : Array.from({ length: 1 + random.integer(2) }, () => random.pick(names)).join("/");
      for (let turn = 0; turn < 25; turn++) {
        const program = random.pick(["cd", "ls", "cat", "find", ...programs, ...programs]);
        const operands = { cd: 1, cat: 1, mv: 2, cp: 2 }[program] ?? random.integer(2);
        const action =
          program === "touch"
            ? `touch ${random.pick(["", `${path()}/`, `${path()}/`])}here`
            : [program, ...Array.from({ length: operands }, path)].join(" ");
        if (!parseCommand(action, { cwd: shell.cwd }).ok || problem(action) !== undefined) continue;
        const { text, exit, cwd } = shell.run(action);
        // Directories are not moved there.
        if (text.includes("are not moved here")) continue;
        const { segments } = await environment.step(action);
        expect(
          segments.map((segment) => segment.text).join(""),
          `${action} in ${JSON.stringify(task.files)}`,
        ).toBe(`${text}[${exit}] ~${cwd && "/"}${cwd}\n`);
        ran++;
      }
      await environment.dispose();
    }
    expect(ran).toBeGreaterThan(120);
  });

  it("accepts every way that leads there and no state that differs", async () => {
    for (let index = 0; index < 6; index++) {
      const split = index < 3 ? "ood" : "train";
      for (const { task, actions, reward } of attempts(split, index))
        expect(await play(task, actions), `${task.instruction}: ${actions.join("; ")}`).toBe(reward);
    }
  });

  /** Ways that solve a task, and near misses. */
  function attempts(
    split: Task["split"],
    index: number,
  ): { task: Task; actions: string[]; reward: number }[] {
    if (name === "tinyterm/navigate") {
      const task = family.task(split, index) as NavigateTask;
      const { target, directories, files } = task;
      const other = directories.find((path) => path !== target);
      return [
        { task, actions: [`touch ${target}/here`], reward: 1 },
        { task, actions: [`touch ${target}/here`, "submit done"], reward: 1 },
        { task, actions: [`cd ${target}`, "touch here", "touch here", "ls", "submit nothing"], reward: 1 },
        { task, actions: ["submit here"], reward: 0 },
        { task, actions: ["touch here", "submit done"], reward: 0 },
        { task, actions: [`touch ${other}/here`], reward: 0 },
        { task, actions: [`touch ${target}/here ${other}/here`], reward: 0 },
        { task, actions: [`touch ${target}/here`, "touch here"], reward: 0 },
        { task, actions: [`touch ${files[0].path}/here`], reward: 0 },
      ];
    }
    const task = family.task(split, index) as FilesTask;
    const { kind, source, target, files, directories } = task;
    const program = kind === "copy" ? "cp" : "mv";
    const done = `${program} ${source} ${target}`;
    const [other] = files.filter(({ path }) => path !== source);
    const away = directories.find((path) => path !== target.slice(0, target.lastIndexOf("/")));
    return [
      { task, actions: [done], reward: 1 },
      { task, actions: [done, "ls", "submit anything"], reward: 1 },
      { task, actions: [`cp ${source} stray`, done], reward: 0 },
      { task, actions: [`${program} ${source} ${target}.`], reward: 0 },
      { task, actions: [`cp ${source} .stray`, done], reward: 0 },
      // The other program leaves the source behind, or takes it away.
      { task, actions: [`${kind === "copy" ? "mv" : "cp"} ${source} ${target}`], reward: 0 },
      // The right name with another file's word.
      { task, actions: [`mv ${other.path} ${target}`], reward: 0 },
      { task, actions: [done, `cp ${target} ${other.path}`], reward: 0 },
      { task, actions: [done, `mv ${other.path} ${away}/stray`], reward: 0 },
      { task, actions: [`${program} ${source} ${away}/stray`], reward: 0 },
      {
        task,
        actions: [`mv ${source} stray`, `${program} stray ${target}`],
        reward: kind === "copy" ? 0 : 1,
      },
    ];
  }
});
