import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SpecialTokenHarness } from "../../../lib/agent/special-token-harness.js";
import { recordTrajectories } from "../../../lib/eval/record-trajectories.js";
import { CounterRandom } from "../../../lib/random/counter-random.js";
import { LocalSandboxProvider } from "../../../lib/sandbox/local-sandbox-provider.js";
import { parseCommand } from "../../../lib/sandbox/parse-command.js";
import type { SandboxProvider } from "../../../lib/sandbox/sandbox-provider.js";
import type { Task } from "../../../lib/tasks/task.js";
import { findFamily } from "../../../lib/tasks/tinyterm/find/find-family.js";
import { generateFindTask } from "../../../lib/tasks/tinyterm/find/generate-find-task.js";
import { visitFamily } from "../../../lib/tasks/tinyterm/visit/visit-family.js";
import { Tokenizer } from "../../../lib/tokens/tokenizer.js";
import { SimulatedShell } from "./simulated-shell.js";

const linux = process.platform === "linux";
if (!linux) console.warn("SKIPPED: no local sandbox here; TinyTerm in a real bash is not verified");

describe.skipIf(!linux)("TinyTerm in a real bash", () => {
  let sandboxes: SandboxProvider;
  beforeAll(async () => {
    sandboxes = await LocalSandboxProvider.start();
  });
  afterAll(() => sandboxes?.dispose());

  const tokenizer = Tokenizer.fromDirectory(findFamily.tokenizer);
  const harness = new SpecialTokenHarness(tokenizer, findFamily);
  const record = (agent: "expert" | "random", split: Task["split"], tasks: number, family = findFamily) =>
    recordTrajectories({ family, split, tasks, agent, harness, sandboxes, seed: 3, concurrency: 16 });

  it("is solved by the expert in every split, and by doing nothing it is not", async () => {
    for (const split of ["train", "val", "ood"] as const) {
      const { trajectories, excluded } = await record("expert", split, 24);
      expect(excluded).toEqual([]);
      expect(trajectories.map(({ reward }) => reward)).toEqual(trajectories.map(() => 1));
    }
    const idle = findFamily.createEnvironment(findFamily.task("val", 0), sandboxes);
    await idle.reset();
    expect(await idle.score()).toBe(0);
    await idle.dispose();
  });

  it("is solved now and then by random commands", async () => {
    const { trajectories } = await record("random", "train", 160);
    const solved = trajectories.filter(({ reward }) => reward === 1).length / trajectories.length;
    expect(solved).toBeGreaterThan(0.1);
    expect(solved).toBeLessThan(0.3);
    expect(trajectories.filter(({ warnings }) => warnings > 0)).toEqual([]);
  });

  it("shows the answer to nobody who has not read the target", async () => {
    const { trajectories } = await record("random", "val", 48);
    let hidden = 0;
    for (const { taskId, ids } of trajectories) {
      const { answer, target } = generateFindTask("val", Number(taskId.split("/").at(-1)));
      const [before] = tokenizer
        .decode(ids)
        .split(new RegExp(`cat ${target}<\\|end\\|><\\|output\\|>${answer}`));
      expect(before).not.toContain(answer);
      if (before === tokenizer.decode(ids)) hidden++;
    }
    expect(hidden).toBeGreaterThan(5);
    expect(hidden).toBeLessThan(43);
  });

  it("takes at most four tokens for the median action", async () => {
    const { trajectories } = await record("random", "train", 24);
    const lengths = trajectories
      .flatMap(({ roles }) => roles.split(/[^a]+/).filter((run) => run !== ""))
      .map((run) => run.length);
    expect(lengths.sort((a, b) => a - b)[lengths.length >> 1]).toBeLessThanOrEqual(4);
    // Every word is one token, so nothing said here falls apart into bytes.
    const letters = new Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    for (const { ids } of trajectories)
      expect(
        ids.filter((id) => letters.has(tokenizer.decode([id]))).map((id) => tokenizer.decode([id])),
      ).toEqual([]);
  });

  it("repeats 50 rollouts byte for byte", async () => {
    const once = async (): Promise<string> => {
      const { trajectories, floor } = await record("random", "ood", 50);
      return JSON.stringify([trajectories, floor]);
    };
    expect(await once()).toBe(await once());
  });

  it("measures the floor of what it recorded", async () => {
    const { trajectories, floor } = await record("expert", "val", 24);
    expect(floor.tokens).toBe(trajectories.reduce((sum, { roles }) => sum + roles.split("o").length - 1, 0));
    expect(floor.nll).toBeGreaterThan(0.2);
    expect(floor.nll).toBeLessThan(0.7);
  });

  it("says what the simulated shell of the floor's tests says", async () => {
    const random = new CounterRandom(99n);
    let ran = 0;
    for (let index = 0; index < 12; index++) {
      const task = generateFindTask("ood", index);
      const environment = findFamily.createEnvironment(task, sandboxes);
      await environment.reset();
      const shell = new SimulatedShell(task);
      const names = [
        ...task.directories.flatMap((path) => path.split("/")),
        ...task.files.flatMap(({ path }) => path.split("/")),
      ];
      for (let turn = 0; turn < 25; turn++) {
        const path = (): string =>
          Array.from({ length: 1 + random.integer(random.integer(4) + 1) }, () =>
            random.pick([...names, "..", ".", "nothing"]),
          ).join("/");
        const program = random.pick(["cd", "cd", "ls", "ls", "cat", "find", "pwd"]);
        const operands =
          program === "pwd" ? 0 : program === "cd" ? 1 : random.integer(3) + (program === "cat" ? 1 : 0);
        const action = [program, ...Array.from({ length: operands }, path)].join(" ");
        const { segments } = await environment.step(action);
        const accepted = parseCommand(action, { cwd: shell.cwd }).ok;
        expect({ action, refused: segments.some(({ role }) => role === "warning") }).toEqual({
          action,
          refused: !accepted,
        });
        if (!accepted) continue;
        const { text, exit, cwd } = shell.run(action);
        expect(
          segments.map((segment) => segment.text).join(""),
          `${action} in ${JSON.stringify(task.files)}`,
        ).toBe(`${text}[${exit}] ~${cwd && "/"}${cwd}\n`);
        ran++;
      }
      await environment.dispose();
    }
    expect(ran).toBeGreaterThan(150);
  });

  it("has other worlds to pretrain on, with other names", async () => {
    const { trajectories } = await record("expert", "train", 40, visitFamily);
    expect(trajectories.filter(({ reward }) => reward === 1).length).toBeGreaterThan(34);
    const tour = await record("random", "train", 60, visitFamily);
    const words = new Set(tour.trajectories.flatMap(({ ids }) => tokenizer.decode(ids).split(/[^a-z]+/)));
    const programs = "head tail wc sort find cat ls cd mv cp grep bash echo touch".split(" ");
    expect(programs.filter((program) => !words.has(program))).toEqual([]);
    for (let i = 0; i < 100; i++)
      for (const { path, word } of generateFindTask("train", i).files)
        for (const name of [...path.split("/"), word]) expect(words.has(name), name).toBe(false);
  });
});
