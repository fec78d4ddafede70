import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TerminalEnvironment } from "../../lib/environments/terminal-environment.js";
import { LocalSandboxProvider } from "../../lib/sandbox/local-sandbox-provider.js";
import type { Sandbox } from "../../lib/sandbox/sandbox.js";
import type { SandboxProvider } from "../../lib/sandbox/sandbox-provider.js";

const linux = process.platform === "linux";
if (!linux) console.warn("SKIPPED: no local sandbox here; scripts of tasks are not verified");

const refused = [["warning", "bash: script not allowed\n"]];

describe.skipIf(!linux)("TerminalEnvironment with scripts", () => {
  let sandboxes: SandboxProvider;
  beforeAll(async () => {
    sandboxes = await LocalSandboxProvider.start();
  });
  afterAll(() => sandboxes?.dispose());

  const scripts = [
    { path: "run", text: "show elm/fig\n" },
    { path: "tools/check", text: 'cd ~ && "$BASH" run && for ((i = 0; i < 2; i++)); do echo "$i"; done\n' },
  ];
  const files = [
    { path: "elm/fig", text: "red\n" },
    { path: "elm/evil", text: "cat fig\nrm -r elm\n" },
  ];

  /** What a world with these scripts answers, and its score at the end. `inside` does what no action can. */
  const play = async (
    actions: readonly (string | ((inside: Sandbox) => Promise<unknown>))[],
    declared: typeof scripts = scripts,
  ): Promise<{ said: [string, string][][]; score: number }> => {
    let inside: Sandbox | undefined;
    const environment = new TerminalEnvironment({
      instruction: "fix run",
      files,
      scripts: declared,
      verifier: "[[ -d elm ]]",
      sandboxes: {
        layers: [],
        create: async (signal) => {
          inside = await sandboxes.create(signal);
          return inside;
        },
        dispose: async () => {},
      },
    });
    await environment.reset();
    const said: [string, string][][] = [];
    for (const action of actions) {
      if (typeof action === "string")
        said.push((await environment.step(action)).segments.map(({ role, text }) => [role, text]));
      else await action(inside as Sandbox);
    }
    const score = await environment.score();
    await environment.dispose();
    return { said, score };
  };
  const last = async (...actions: Parameters<typeof play>[0]): Promise<[string, string][] | undefined> =>
    (await play(actions)).said.at(-1);

  it("runs a script as the task wrote it, and says what bash says", async () => {
    expect(await last("bash run")).toEqual([
      ["observation", "run: line 1: show: command not found\n"],
      ["observation", "[127] ~\n"],
    ]);
    expect(await last("cd elm", "bash ../run")).toEqual([
      ["observation", "../run: line 1: show: command not found\n"],
      ["observation", "[127] ~/elm\n"],
    ]);
    expect((await play(["cd elm", "bash ../tools/check"])).said.at(-1)?.at(-1)).toEqual([
      "observation",
      "[127] ~/elm\n",
    ]);
  });

  it("runs what the agent wrote, if it only reads", async () => {
    expect(await last("echo cat elm/fig > run", "bash run")).toEqual([
      ["observation", "red\n"],
      ["observation", "[0] ~\n"],
    ]);
    expect(await last("echo cat elm/fig > run", "cd elm", "bash ../tools/check")).toEqual([
      ["observation", "red\n0\n1\n"],
      ["observation", "[0] ~/elm\n"],
    ]);
    expect(await last("echo cat elm/fig > run", "echo wc elm/fig >> run", "bash run")).toEqual([
      ["observation", "red\n1 1 4 elm/fig\n"],
      ["observation", "[0] ~\n"],
    ]);
    expect(await last("echo head fig > run", "bash run")).toEqual([
      ["observation", "head: cannot open 'fig' for reading: No such file or directory\n"],
      ["observation", "[1] ~\n"],
    ]);
  });

  it("finds no program but those that read", async () => {
    const pipe = "cat elm/fig | sort | uniq | head -n 1 | tail -n 1 | grep r | cut -c 1";
    const text = `${pipe}\nls elm\nfind elm/fig\nwc elm/fig\nid\n`;
    const { said } = await play(["bash run"], [{ path: "run", text }]);
    expect(said[0].map(([, line]) => line)).toEqual([
      "r\nevil\nfig\nelm/fig\n1 1 4 elm/fig\nrun: line 5: id: command not found\n",
      "[127] ~\n",
    ]);
  });

  it("has no bash in a world without scripts, and only the declared ones in a world with", async () => {
    for (const action of ["bash run", "bash", "bash elm/evil", "bash -c ls", "bash | ls"])
      expect((await play([action], [])).said[0][0][0]).toBe("warning");
    expect((await play(["bash elm/fig"], [])).said[0]).toEqual([["warning", "unknown program\n"]]);
    for (const [action, reason] of [
      ["bash", "bash: missing operand"],
      ["bash elm/evil", "bash: path not allowed"],
      ["bash nothing", "bash: path not allowed"],
      ["bash elm", "bash: path not allowed"],
      ["bash elm/run", "bash: path not allowed"],
      ["bash run run", "bash: too many operands"],
      ["bash -x run", "bash: unknown flag"],
      ["bash -c ls", "bash: unknown flag"],
      ["bash run | cat", "bash: not allowed in a pipe"],
      ["cat elm/evil | bash", "bash: missing operand"],
      ["cat elm/evil | bash run", "bash: not allowed in a pipe"],
      ["bash run > elm/fig", "bash: redirection not allowed"],
      ["bash run >> run", "bash: redirection not allowed"],
      ["bash ../run", "bash: path leaves the task"],
    ])
      expect((await play([action])).said[0], action).toEqual([["warning", `${reason}\n`]]);
  });

  it.each([
    ["another program", ["echo rm elm/fig > run"]],
    ["a program that is installed", ["echo id > run"]],
    ["a program outside", ["echo bin/sh > run"]],
    ["a changing one", ["echo mv elm gone > run"]],
    ["a directory change", ["echo cd elm > run"]],
    ["a submission", ["echo submit red > run"]],
    ["itself", ["echo bash run > run"]],
    ["the other script", ["echo bash tools/check > run"]],
    ["a path outside", ["echo cat ../secret > run"]],
    ["a path valid only from where the shell stands", ["cd elm", "echo cat ../elm/fig > ../run", "cd .."]],
    ["no order", ["echo cat x > run", "echo find . > run"]],
    ["one good line and a bad one", ["echo cat elm/fig > run", "echo rm elm/fig >> run"]],
    ["what the task wrote and a good line", ["echo cat elm/fig >> run"]],
    ["a blank line", ["echo > run"]],
    ["nothing", ["echo -n > run"]],
    ["a copy of something else", ["cp elm/evil run"]],
    ["something else moved there", ["mv elm/evil run"]],
    ["the other script", ["cp tools/check run"]],
    ["a directory", ["rm run", "mkdir run"]],
    ["a directory with a script in it", ["rm run", "mkdir run", "cp elm/evil run"]],
    ["a bad other script", ["echo rm elm > tools/check"]],
    ["no other script", ["rm -r tools"]],
    ["no script", ["rm run"]],
    ["the output of a program", ["ls > run"]],
  ])("refuses a script of %s and scores it 0", async (_, actions) => {
    const { said, score } = await play([...actions, "bash run"]);
    expect(
      said
        .slice(0, -1)
        .flat(1)
        .map(([role]) => role),
    ).not.toContain("warning");
    expect(said.at(-1)).toEqual(refused);
    expect(score).toBe(0);
  });

  it.each<[string, (inside: Sandbox) => Promise<unknown>]>([
    ["a link to the outside", (inside) => inside.exec("ln -sf /etc/passwd run")],
    ["a link to a script that may run", (inside) => inside.exec("cp run other && ln -sf other run")],
    ["a pipe without a writer", (inside) => inside.exec("rm run && mkfifo run")],
    ["a command after a blank", (inside) => inside.writeFile("run", "cat elm/fig\n \n")],
    ["a variable", (inside) => inside.writeFile("run", "cat $HOME\n")],
    ["a separator", (inside) => inside.writeFile("run", "cat elm/fig; rm elm/fig\n")],
    ["a carriage return", (inside) => inside.writeFile("run", "cat elm/fig\r\n")],
    ["a zero byte", (inside) => inside.writeFile("run", "cat elm/fig\0\n")],
    ["bytes", (inside) => inside.writeFile("run", new Uint8Array([0xff, 0xfe, 0x00, 0x0a]))],
    ["letters beyond ASCII", (inside) => inside.writeFile("run", "cat caf\u00e9\n")],
    ["an interpreter line", (inside) => inside.writeFile("run", "#!/bin/sh\ncat elm/fig\n")],
    ["output redirected", (inside) => inside.writeFile("run", "cat elm/fig > elm/rye\n")],
    ["readers without order", (inside) => inside.writeFile("run", "find elm\n")],
    ["many good lines", (inside) => inside.writeFile("run", "cat elm/fig\n".repeat(100))],
    ["four million of them", (inside) => inside.writeFile("run", "pwd\n".repeat(1 << 20))],
  ])("refuses %s", async (_, change) => {
    const { said, score } = await play([change, "bash run", "bash tools/check"]);
    expect(said).toEqual([refused, refused]);
    expect(score).toBe(0);
  });

  it("leaves the shell as it was", async () => {
    const { said } = await play(["bash run", "cat elm/fig", "ls"]);
    expect(said.slice(1).map(([[, text]]) => text)).toEqual(["red\n", "elm\nrun\ntools\n"]);
  });
});
