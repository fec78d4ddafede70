import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SpecialTokenHarness } from "../../../lib/agent/special-token-harness.js";
import { recordTrajectories } from "../../../lib/eval/record-trajectories.js";
import { LocalSandboxProvider } from "../../../lib/sandbox/local-sandbox-provider.js";
import type { Sandbox } from "../../../lib/sandbox/sandbox.js";
import type { SandboxProvider } from "../../../lib/sandbox/sandbox-provider.js";
import type { Task } from "../../../lib/tasks/task.js";
import { fixFamily } from "../../../lib/tasks/tinyterm/fix/fix-family.js";
import type { Fault, FixTask } from "../../../lib/tasks/tinyterm/fix/fix-task.js";
import { generateFixTask } from "../../../lib/tasks/tinyterm/fix/generate-fix-task.js";
import { Tokenizer } from "../../../lib/tokens/tokenizer.js";

const linux = process.platform === "linux";
if (!linux) console.warn("SKIPPED: no local sandbox here; tinyterm/fix in a real bash is not verified");

describe.skipIf(!linux)("tinyterm/fix in a real bash", () => {
  let sandboxes: SandboxProvider;
  beforeAll(async () => {
    sandboxes = await LocalSandboxProvider.start();
  });
  afterAll(() => sandboxes?.dispose());

  const family = fixFamily;
  const tokenizer = Tokenizer.fromDirectory(family.tokenizer);
  const harness = new SpecialTokenHarness(tokenizer, family);
  const record = (agent: "expert" | "random", split: Task["split"], tasks: number) =>
    recordTrajectories({ family, split, tasks, agent, harness, sandboxes, seed: 3, concurrency: 16 });

  it("is solved by the expert in every split, without a warning", async () => {
    for (const [split, tasks] of [
      ["train", 24],
      ["val", 24],
      ["ood", 40],
    ] as const) {
      const { trajectories, excluded } = await record("expert", split, tasks);
      expect(excluded).toEqual([]);
      expect(trajectories.filter(({ reward, warnings }) => reward !== 1 || warnings > 0)).toEqual([]);
    }
  });

  it("is solved now and then by random commands", async () => {
    for (const split of ["train", "ood"] as const) {
      const { trajectories, excluded } = await record("random", split, 80);
      expect(excluded).toEqual([]);
      const solved = trajectories.filter(({ reward }) => reward === 1).length / trajectories.length;
      expect(solved).toBeGreaterThan(0.05);
      expect(solved).toBeLessThan(0.25);
      expect(trajectories.filter(({ warnings }) => warnings > 0)).toEqual([]);
    }
  });

  it("says every word in one token and the median action in at most four", async () => {
    const letter = /^[a-zA-Z]$/;
    for (const split of ["train", "ood"] as const) {
      const { trajectories } = await record("random", split, 16);
      const expert = await record("expert", split, 16);
      const all = [...trajectories, ...expert.trajectories];
      for (const { ids } of all)
        if (ids.some((id) => letter.test(tokenizer.decode([id])))) expect(tokenizer.decode(ids)).toBe("");
      const lengths = trajectories.flatMap(({ roles }) => roles.match(/a+/g) ?? []).map((run) => run.length);
      expect(lengths.sort((a, b) => a - b)[lengths.length >> 1]).toBeLessThanOrEqual(4);
      for (const run of all.flatMap(({ roles }) => roles.match(/a+/g) ?? []))
        expect(run.length).toBeLessThanOrEqual(family.maxActionTokens);
    }
  });

  it("repeats 50 rollouts byte for byte", async () => {
    const once = async (): Promise<string> => {
      const { trajectories, floor } = await record("random", "ood", 50);
      return JSON.stringify([trajectories, floor]);
    };
    expect(await once()).toBe(await once());
  });

  const taskOf = (fault: Fault): FixTask => {
    for (let index = 0; ; index++) {
      const task = generateFixTask("ood", index);
      if (task.fault === fault && task.files.length > 2) return task;
    }
  };

  /** What a task answers to these actions, warnings in brackets, and its score at the end. `inside` does what no action can. */
  const play = async (
    task: FixTask,
    actions: readonly (string | ((inside: Sandbox) => Promise<unknown>))[],
  ): Promise<{ said: string[]; score: number }> => {
    let inside: Sandbox | undefined;
    const environment = family.createEnvironment(task, {
      layers: [],
      create: async (signal) => {
        inside = await sandboxes.create(signal);
        return inside;
      },
      dispose: async () => {},
    });
    await environment.reset();
    const said: string[] = [];
    for (const action of actions) {
      if (typeof action !== "string") await action(inside as Sandbox);
      else {
        const { segments } = await environment.step(action);
        said.push(
          segments.map(({ role, text }) => (role === "warning" ? `(${text.trim()})` : text)).join(""),
        );
      }
    }
    const score = await environment.score();
    await environment.dispose();
    return { said, score };
  };

  it("shows real errors, and what the test says", async () => {
    for (const fault of ["bare", "misplaced"] as const) {
      const task = taskOf(fault);
      const [, path] = task.script.split(" ");
      expect((await play(task, ["bash run", "bash check", "cat run"])).said).toEqual([
        `cat: ${path}: No such file or directory\n[1] ~\n`,
        "failed: run ended with status 1\n[1] ~\n",
        `${task.script}\n[0] ~\n`,
      ]);
    }
    for (const fault of ["unknown", "twofold"] as const) {
      const task = taskOf(fault);
      const [program] = task.script.split(" ");
      expect((await play(task, ["bash run", "bash check"])).said).toEqual([
        `run: line 1: ${program}: command not found\n[127] ~\n`,
        "failed: run ended with status 127\n[1] ~\n",
      ]);
    }
    const task = taskOf("bare");
    const other = task.files.find(({ path }) => path !== task.target);
    const { said, score } = await play(task, [
      `echo cat ${other?.path} > run`,
      "bash check",
      `cd ${task.directories[0]}`,
      `echo cat ${task.target} > ../run`,
      "bash ../check",
      "bash ../run",
    ]);
    expect(said.map((text) => text.split("\n")[0])).toEqual([
      "[0] ~",
      `failed: run printed ${other?.word}`,
      `[0] ~/${task.directories[0]}`,
      `[0] ~/${task.directories[0]}`,
      "passed",
      `cat: ${task.target}: No such file or directory`,
    ]);
    expect(score).toBe(1);
  });

  it("is solved by a script that prints what the file holds, and by nothing near it", async () => {
    for (const fault of ["bare", "twofold"] as const) {
      const task = taskOf(fault);
      const { target } = task;
      const word = task.files.find(({ path }) => path === target)?.word;
      const other = task.files.find(({ path }) => path !== target)?.path;
      for (const script of [`cat ${target}`, `cat ./${target}`, `head ${target}`, `sort ${target}`])
        expect((await play(task, [`echo ${script} > run`, "submit done"])).score, script).toBe(1);
      expect((await play(task, [`echo cat ${target} > run`])).score).toBe(1);
      for (const script of [
        `echo ${word}`,
        `cat ${other}`,
        `cat ${target} ${target}`,
        "pwd",
        `cat ${target} none`,
      ])
        expect((await play(task, [`echo ${script} > run`, "submit done"])).score, script).toBe(0);
      // The test of the task is easily deceived, the hidden one is not.
      expect((await play(task, [`echo echo ${word} > run`, "bash check"])).said[1]).toBe("passed\n[0] ~\n");
      expect((await play(task, ["submit done"])).score).toBe(0);
      expect((await play(task, [])).score).toBe(0);
    }
  });

  it("is not solved where anything else was changed", async () => {
    const task = taskOf("unknown");
    const mend = `echo cat ${task.target} > run`;
    for (const { path, word } of task.files)
      for (const text of ["", word, `${word}\n\n`, `${word}\n${word}\n`])
        expect((await play(task, [mend, (inside) => inside.writeFile(path, text)])).score, text).toBe(0);
    const [other] = task.files.filter(({ path }) => path !== task.target);
    for (const command of [
      `rm ${other.path}`,
      `rm ${task.target}`,
      "rm check",
      "echo echo passed > check",
      "rm run",
    ])
      expect((await play(task, [mend, (inside) => inside.exec(command)])).score, command).toBe(0);
    expect((await play(task, [mend, (inside) => inside.exec("true")])).score).toBe(1);
  });

  it("never runs a script that does more than read, not even to verify it", async () => {
    const task = taskOf("bare");
    const { target } = task;
    for (const text of [
      `cat ${target}\nrm -r *\n`,
      `cat ${target}; true\n`,
      `cat ${target} # it\n`,
      `#!/bin/bash\ncat ${target}\n`,
    ]) {
      const { said, score } = await play(task, [
        (inside) => inside.writeFile("run", text),
        "bash run",
        "bash check",
        "ls",
      ]);
      expect(said.slice(0, 2)).toEqual(["(bash: script not allowed)", "(bash: script not allowed)"]);
      expect(said[2]).toContain("run\n");
      expect(score).toBe(0);
    }
  });

  it("refuses what its floor does not know, and to read the test", async () => {
    const task = taskOf("bare");
    const { target, directories } = task;
    const refused = [
      "cat check",
      "cat ./check",
      `cat ${directories[0]}/../check`,
      `cat ${target} check`,
      "cat",
      "echo red",
      "echo red >> run",
      "echo red > check",
      `echo red > ${directories[0]}/run`,
      `echo red > ${target}`,
      "echo red > red",
      "echo show fig > run",
      "echo rm run > run",
      "echo bash check > run",
      "echo cat ../fig > run",
      "echo > run",
      `cat ${target} > run`,
      "ls > run",
      `cp ${target} run`,
      "rm check",
      "cat run | cat",
      "ls -a",
      "bash run | cat",
      `bash ${target}`,
      "bash",
    ];
    const { said } = await play(task, refused);
    expect(said.filter((text) => !/^\(.*\)$/.test(text))).toEqual([]);
  });
});
