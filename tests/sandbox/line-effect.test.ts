import { expect, it } from "vitest";
import { lineEffect } from "../../lib/sandbox/line-effect.js";
import { parseCommand } from "../../lib/sandbox/parse-command.js";
import { scriptCommand } from "../../lib/sandbox/script-command.js";

it("knows the lines that change no file", () => {
  for (const line of ["ls -F", "cd a", "cat f.txt | sort | uniq -c", "find . | sort", "grep -rn o . | sort"])
    expect(lineEffect(line, ""), line).toBe("reads");
});

it("knows the lines that change files and nothing else", () => {
  for (const line of [
    "rm a",
    "touch a",
    "echo a > f",
    "echo a >> f",
    "submit a",
    "cp a b",
    "mv a b",
    "ls | sort > f",
  ])
    expect(lineEffect(line, ""), line).toBe("changes");
  const rendered = parseCommand("find . | sort > f", { cwd: "" });
  expect(rendered.ok && lineEffect(rendered.line, "")).toBe("changes");
  expect(rendered.ok && rendered.line).toContain("{");
  expect(lineEffect(scriptCommand("a/run.sh"), "")).toBe("changes");
  expect(lineEffect(scriptCommand("../run.sh"), "a")).toBe("changes");
});

it("knows nothing of any other line", () => {
  const script = scriptCommand("a/run.sh");
  for (const line of [
    "ls; rm a",
    "ls && rm a",
    "cat $(rm a)",
    "date",
    "",
    "word=1",
    "{ ls; rm a; } > f",
    "{ ls; } > f; word=1",
    "{ ls; } > ../f",
    "bash run.sh",
    script.replace("exec", "date; exec"),
    scriptCommand("../run.sh"),
    scriptCommand("a;b"),
    `word=1; ${script}`,
    `${script}; word=1`,
  ])
    expect(lineEffect(line, ""), line).toBe("unknown");
});
