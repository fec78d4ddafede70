import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SpecialTokenHarness } from "../../../lib/agent/special-token-harness.js";
import { recordTrajectories } from "../../../lib/eval/record-trajectories.js";
import { LocalSandboxProvider } from "../../../lib/sandbox/local-sandbox-provider.js";
import type { Sandbox } from "../../../lib/sandbox/sandbox.js";
import type { SandboxProvider } from "../../../lib/sandbox/sandbox-provider.js";
import type { Task } from "../../../lib/tasks/task.js";
import { countFamily } from "../../../lib/tasks/tinyterm/count/count-family.js";
import { generateCountTask } from "../../../lib/tasks/tinyterm/count/generate-count-task.js";
import { Tokenizer } from "../../../lib/tokens/tokenizer.js";

const linux = process.platform === "linux";
if (!linux) console.warn("SKIPPED: no local sandbox here; tinyterm/count in a real bash is not verified");

describe.skipIf(!linux)("tinyterm/count in a real bash", () => {
  let sandboxes: SandboxProvider;
  beforeAll(async () => {
    sandboxes = await LocalSandboxProvider.start();
  });
  afterAll(() => sandboxes?.dispose());

  const family = countFamily;
  const tokenizer = Tokenizer.fromDirectory(family.tokenizer);
  const harness = new SpecialTokenHarness(tokenizer, family);
  const record = (agent: "expert" | "random", split: Task["split"], tasks: number) =>
    recordTrajectories({ family, split, tasks, agent, harness, sandboxes, seed: 3, concurrency: 16 });

  it("is solved by the expert in every split, without a warning", async () => {
    for (const split of ["train", "val", "ood"] as const) {
      const { trajectories, excluded } = await record("expert", split, 32);
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
        expect(ids.map((id) => tokenizer.decode([id])).filter((text) => letter.test(text))).toEqual([]);
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

  const task = generateCountTask("train", 0);
  const { answer, files } = task;

  /** Score after these actions and a change that no action can make. */
  const score = async (
    actions: string[],
    change?: (inside: Sandbox) => Promise<unknown>,
  ): Promise<number> => {
    let inside: Sandbox | undefined;
    const environment = family.createEnvironment(task, {
      ...sandboxes,
      create: async (signal) => {
        inside = await sandboxes.create(signal);
        return inside;
      },
    });
    await environment.reset();
    await change?.(inside as Sandbox);
    for (const action of actions) await environment.step(action);
    const result = await environment.score();
    await environment.dispose();
    return result;
  };

  it("is solved by the number and by nothing near it", async () => {
    expect(await score([`submit ${answer}`])).toBe(1);
    expect(await score(["cd", "ls", `submit ${answer}`])).toBe(1);
    expect(await score([])).toBe(0);
    for (const word of [
      answer + 1,
      answer - 1,
      `0${answer}`,
      `${answer}.0`,
      `${answer}${answer}`,
      files[0].lines[0],
    ])
      expect(await score([`submit ${word}`]), `${word}`).toBe(0);
    for (const action of [
      `submit ${answer} ${answer}`,
      "submit",
      `submit -${answer}`,
      `echo ${answer} > .submitted`,
    ])
      expect(await score([action]), action).toBe(0);
  });

  it("is not solved where a file was changed", async () => {
    const [{ path, lines }] = files;
    for (const text of ["", `${lines.join("\n")}`, `${lines.join("\n")}\n\n`, "'; exit 0; '\n"])
      expect(await score([`submit ${answer}`], (inside) => inside.writeFile(path, text)), text).toBe(0);
    for (const { path: each } of files)
      expect(await score([`submit ${answer}`], (inside) => inside.exec(`rm ${each}`))).toBe(0);
    const same = (inside: Sandbox) => inside.writeFile(path, `${lines.join("\n")}\n`);
    expect(await score([`submit ${answer}`], same)).toBe(1);
  });

  it("says what its floor takes its answers to mean", async () => {
    const environment = family.createEnvironment(task, sandboxes);
    await environment.reset();
    const [{ path, lines }] = files;
    const [directory] = task.directories;
    const [word] = lines;
    const count = lines.filter((line) => line === word).length;
    for (const [action, said] of [
      [`wc -l ${path}`, `${lines.length} ${path}\n[0] ~\n`],
      ["wc -l none", "wc: none: No such file or directory\n[1] ~\n"],
      [`wc -l ${path}/x`, `wc: ${path}/x: Not a directory\n[1] ~\n`],
      [`wc -l ${directory}`, `wc: ${directory}: Is a directory\n0 ${directory}\n[1] ~\n`],
      [`grep -c ${word} ${path}`, `${count}\n[0] ~\n`],
      [`grep ${word} ${path}`, `${`${word}\n`.repeat(count)}[0] ~\n`],
      [`grep -c none ${path}`, "0\n[1] ~\n"],
      [`grep none ${path}`, "[1] ~\n"],
      [`grep . ${path}`, `${lines.join("\n")}\n[0] ~\n`],
      ["grep -c red none", "grep: none: No such file or directory\n[2] ~\n"],
      [`grep red ${path}/x`, `grep: ${path}/x: Not a directory\n[2] ~\n`],
      [`grep red ${directory}`, `grep: ${directory}: Is a directory\n[2] ~\n`],
    ])
      expect((await environment.step(action)).segments.map(({ text }) => text).join(""), action).toBe(said);
    await environment.dispose();
  });

  it("refuses what its floor does not know", async () => {
    const environment = family.createEnvironment(task, sandboxes);
    await environment.reset();
    const [{ path }] = files;
    for (const action of [
      `rm ${path}`,
      `wc ${path}`,
      `wc -w ${path}`,
      `wc -l ${path} ${path}`,
      `grep -n red ${path}`,
      "grep red",
      `cat ${path} | wc -l`,
      "cat",
      "ls -a",
      `echo x > ${path}`,
      "bash run",
    ])
      expect(
        (await environment.step(action)).segments.map(({ role }) => role),
        action,
      ).toEqual(["warning"]);
    for (const action of [
      `wc -l ${path}`,
      `grep -c red ${path}`,
      `grep red -c ${path}`,
      `grep red ${path}`,
      `cat ${path} ${path}`,
      "find",
    ])
      expect(
        (await environment.step(action)).segments.map(({ role }) => role),
        action,
      ).not.toContain("warning");
    await environment.dispose();
  });
});
