import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tidyAction } from "../../lib/environments/tidy-action.js";
import { warningBlock } from "../../lib/environments/warning-block.js";

const LINES = "more than one line";
const PROMPT = "prompt sign";
const SPACES = "extra spaces";

describe("tidyAction", () => {
  it.each<[string, string, string[]]>([
    ["ls", "ls", []],
    ["cat a/b | wc -l > c", "cat a/b | wc -l > c", []],
    ["", "", []],
    [" ls", "ls", [SPACES]],
    ["ls ", "ls", [SPACES]],
    ["cat  fig", "cat fig", [SPACES]],
    ["cat\tfig", "cat fig", [SPACES]],
    ["ls\n", "ls", [SPACES]],
    ["\n\nls", "ls", [SPACES]],
    ["ls\r\n", "ls", [SPACES]],
    ["ls\n[0] ~\nfig", "ls", [LINES]],
    ["ls \nfig", "ls", [LINES, SPACES]],
    ["$ ls", "ls", [PROMPT]],
    ["$   ls", "ls", [PROMPT]],
    [" $ ls -a", "ls -a", [PROMPT, SPACES]],
    ["$ ls\n$ pwd", "ls", [LINES, PROMPT]],
    // More than one thing could be meant: left to the parser.
    ["$ls", "$ls", []],
    ["$", "$", []],
    ["$ $ ls", "$ ls", [PROMPT]],
    ["> fig", "> fig", []],
    ["# ls", "# ls", []],
    ["`ls`", "`ls`", []],
    [" \n ", "", [SPACES]],
  ])("%j is %j", (action, text, warnings) => {
    expect(tidyAction(action)).toEqual({ text, warnings });
  });

  it("changes only what it warns about, and gives one line that needs no more mending of its spaces", () => {
    const action = fc
      .array(fc.constantFrom("ls", "cat", "fig", " ", "  ", "\n", "\t", "$", "$ ", "\r", "-a", "|", ">"), {
        maxLength: 12,
      })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(action, (said) => {
        const { text, warnings } = tidyAction(said);
        expect(warnings.length === 0).toBe(text === said);
        expect(new Set(warnings).size).toBe(warnings.length);
        expect(text).not.toMatch(/[\n\t\r]|^ | $| {2}/);
        expect(tidyAction(text).warnings.filter((warning) => warning !== PROMPT)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

describe("warningBlock", () => {
  it("lists the warnings between a headline and an empty line", () => {
    expect(warningBlock([SPACES, LINES])).toEqual([
      { text: "WARNINGS:\n- extra spaces\n- more than one line\n\n", role: "warning" },
    ]);
    expect(warningBlock([])).toEqual([]);
  });
});
