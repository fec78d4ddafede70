import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  TerminalEnvironment,
  type TerminalEnvironmentOptions,
} from "../../lib/environments/terminal-environment.js";
import { LocalSandboxProvider } from "../../lib/sandbox/local-sandbox-provider.js";
import type { SandboxProvider } from "../../lib/sandbox/sandbox-provider.js";
import { FindExpert } from "../../lib/tasks/tinyterm/find/find-expert.js";
import { environmentConformance } from "../conformance/environment-conformance.js";

const linux = process.platform === "linux";
if (!linux) console.warn("SKIPPED: no local sandbox here; TerminalEnvironment is not verified");

describe.skipIf(!linux)("TerminalEnvironment", () => {
  let sandboxes: SandboxProvider;
  beforeAll(async () => {
    sandboxes = await LocalSandboxProvider.start();
  });
  afterAll(() => sandboxes?.dispose());

  const create = (options: Partial<TerminalEnvironmentOptions> = {}): TerminalEnvironment =>
    new TerminalEnvironment({
      instruction: "read fig",
      files: [
        { path: "oak/fig", text: "red\n" },
        { path: "elm/rye", text: "tin\n" },
      ],
      verifier: "[[ -f .submitted ]] && read -r word < .submitted && [[ $word == red ]]",
      sandboxes,
      ...options,
    });

  environmentConformance(() => ({
    create,
    expert: () => new FindExpert(),
    harmless: ["ls", "cd elm", "cat rye", "cat fig", "cd fig", "ls nothing", "cd ..", "pwd"],
    refused: [
      "",
      "rm -rf ~",
      "cat ../../etc/passwd",
      "reboot",
      "ls; ls",
      "submit",
      "submit a b",
      "cat .submitted",
    ],
    maxTurns: 12,
  }));

  const say = async (environment: TerminalEnvironment, action: string): Promise<[string, string][]> =>
    (await environment.step(action)).segments.map(({ role, text }) => [role, text]);

  it("answers output, then status and directory", async () => {
    const environment = create();
    expect(await environment.reset()).toEqual([{ text: "read fig", role: "context" }]);
    expect(await say(environment, "ls")).toEqual([
      ["observation", "elm\noak\n"],
      ["observation", "[0] ~\n"],
    ]);
    expect(await say(environment, "cd oak")).toEqual([["observation", "[0] ~/oak\n"]]);
    expect(await say(environment, "cat rye")).toEqual([
      ["observation", "cat: rye: No such file or directory\n"],
      ["observation", "[1] ~/oak\n"],
    ]);
    expect(await say(environment, "cd nowhere")).toEqual([
      ["observation", "bash: line 1: cd: nowhere: No such file or directory\n"],
      ["observation", "[1] ~/oak\n"],
    ]);
    // The command language sees the directory the shell stands in.
    expect(await say(environment, "cat ../elm/rye")).toEqual([
      ["observation", "tin\n"],
      ["observation", "[0] ~/oak\n"],
    ]);
    expect(await say(environment, "cat ../../elm/rye")).toEqual([["warning", "cat: path leaves the task\n"]]);
    expect(await say(environment, "echo -n done")).toEqual([
      ["observation", "done\n"],
      ["observation", "[0] ~/oak\n"],
    ]);
    await environment.dispose();
  });

  it("judges the submitted word, whatever else was done", async () => {
    for (const [word, expected] of [
      ["red", 1],
      ["tin", 0],
      ["redd", 0],
    ] as const) {
      const environment = create();
      await environment.reset();
      await environment.step("cd elm");
      expect(await environment.step(`submit ${word}`)).toEqual({
        segments: [],
        done: true,
        exact: true,
        form: "clean",
      });
      expect(await environment.score()).toBe(expected);
      await environment.dispose();
    }
  });

  it("narrows the language where the family asks", async () => {
    const environment = create({ commandProblem: (action) => (action === "ls" ? "not today" : undefined) });
    await environment.reset();
    expect(await say(environment, "ls")).toEqual([["warning", "not today\n"]]);
    expect(await say(environment, "pwd")).toHaveLength(2);
    await environment.dispose();
  });

  it("runs an untidy action and warns about its form first", async () => {
    const environment = create();
    await environment.reset();
    expect(await environment.step("$ cd  oak \n[0] ~/oak\nfig")).toEqual({
      segments: [
        {
          text: "WARNINGS:\n- more than one line\n- prompt sign\n- extra spaces\n\n",
          role: "warning",
        },
        { text: "[0] ~/oak\n", role: "observation" },
      ],
      done: false,
      exact: true,
      form: "untidy",
    });
    // Only what was run is warned about: a refusal is a warning of its own.
    expect(await environment.step(" reboot ")).toEqual({
      segments: [{ text: "unknown program\n", role: "warning" }],
      done: false,
      exact: true,
      form: "refused",
    });
    expect(await environment.step("submit  red\n")).toEqual({
      segments: [],
      done: true,
      exact: true,
      form: "untidy",
    });
    expect(await environment.score()).toBe(1);
    await environment.dispose();
  });

  it("asks the family about the action as it was mended", async () => {
    const asked: string[] = [];
    const commandProblem = (action: string) => void asked.push(action);
    const environment = create({ commandProblem });
    await environment.reset();
    await environment.step("  ls   oak ");
    expect(asked).toEqual(["ls oak"]);
    await environment.dispose();
  });

  it("cuts long output and says so", async () => {
    const environment = create({
      files: [{ path: "fig", text: "0123456789".repeat(10) }],
      maxOutputBytes: 15,
    });
    await environment.reset();
    expect(await say(environment, "cat fig")).toEqual([
      ["observation", "012345678901234\n"],
      ["warning", "output cut\n"],
      ["observation", "[0] ~\n"],
    ]);
    await environment.dispose();
  });

  it("marks a command that ran out of time as not reproducible", async () => {
    const environment = create({ timeoutMs: 0 });
    await environment.reset();
    const step = await environment.step("ls");
    expect(step.exact).toBe(false);
    expect(step.segments.map(({ role, text }) => [role, text])).toContainEqual(["warning", "timed out\n"]);
    await environment.dispose();
  });

  it("reports a broken verifier instead of scoring", async () => {
    const environment = create({ verifier: "echo broken; exit 3" });
    await environment.reset();
    await expect(environment.score()).rejects.toMatchObject({
      code: "ERR_VERIFIER",
      message: expect.stringMatching(/status 3.*expected 0 or 1.*broken/s),
    });
    await environment.dispose();
  });
});
