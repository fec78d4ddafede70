import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commandGrammar } from "../../lib/sandbox/command-grammar.js";
import { parseCommand } from "../../lib/sandbox/parse-command.js";

const line = (text: string, cwd = "", scripts?: string[]) => {
  const parsed = parseCommand(text, { cwd, scripts });
  return parsed.ok ? parsed.line : `refused: ${parsed.reason}`;
};

describe("the closed command language", () => {
  it.each([
    ["ls", "ls"],
    ["  ls   -a  docs/old ", "ls -a docs/old"],
    ["ls -FA", "ls -A -F"],
    ["cat a b/c.txt", "cat a b/c.txt"],
    ["cd", "cd"],
    ["cd ..", "cd .."],
    ["head -3 f", "head -n 3 f"],
    ["head -n3 f", "head -n 3 f"],
    ["tail -n 007 f", "tail -n 7 f"],
    ["sort f -rn", "sort -n -r f"],
    ["grep -c needle a b", "grep -c needle a b"],
    ["cut -d. -f 2 f", "cut -d . -f 2 f"],
    ["mkdir -p x/y", "mkdir -p x/y"],
    ["cp -r one two", "cp -r one two"],
    ["rm -rf one", "rm -f -r one"],
    ["echo -n hello there", "echo -n hello there"],
    ["submit amber", "submit amber"],
    ["cat f|sort|uniq -c", "cat f | sort | uniq -c"],
    ["echo hi>f", "echo hi > f"],
    ["echo hi >> d/f", "echo hi >> d/f"],
    // Directory order must not show.
    ["find . -name f.txt -maxdepth 2", "find . -maxdepth 2 -name f.txt | sort"],
    ["find", "find | sort"],
    ["find . | sort", "find . | sort"],
    ["find . | sort -r", "find . | sort | sort -r"],
    ["grep -r needle | wc -l", "grep -r needle | sort | wc -l"],
    // Nor may lines overtake errors.
    ["cat a b | head -n 1", "cat a b | tail -n 999999 | head -n 1"],
    ["cat a b | sort | head -n 1", "cat a b | sort | head -n 1"],
    ["cat a | head -n 1", "cat a | head -n 1"],
    ["grep x a | cat", "grep x a | cat"],
    ["grep x a b | cat", "grep x a b | tail -n 999999 | cat"],
    ["echo a b | cat", "echo a b | cat"],
    // Whether the listing shows the new file must not be a race.
    ["ls | sort -r > f", "{ ls | sort -r; } > f"],
    ["find . > f", "{ find . | sort; } > f"],
  ])("%j runs as %j", (text, expected) => {
    expect(line(text, "d")).toBe(expected);
  });

  it.each([
    ["", "missing program"],
    ["   ", "missing program"],
    ["ls |", "missing program"],
    ["| ls", "missing program"],
    ["bash", "unknown program"],
    ["toString", "unknown program"],
    ["/bin/ls", "unknown program"],
    ["LS", "unknown program"],
    ["a=b", "character not allowed"],
    ["ls; ls", "character not allowed"],
    ["ls && ls", "character not allowed"],
    ["ls\nls", "character not allowed"],
    ["ls\tf", "character not allowed"],
    ["ls\0", "character not allowed"],
    ["cat < f", "character not allowed"],
    ["cat *.txt", "character not allowed"],
    ["cat 'f'", "character not allowed"],
    ["cat caf\u00e9", "character not allowed"],
    ["cat \uff0fetc", "character not allowed"],
    [`echo ${"a".repeat(252)}`, "line too long"],
    ["ls -l", "ls: unknown flag"],
    ["ls --", "ls: unknown flag"],
    ["ls --help", "ls: unknown flag"],
    ["tail -f f", "tail: unknown flag"],
    ["sort -o f", "sort: unknown flag"],
    ["find . -delete", "find: unknown flag"],
    ["find . -exec ls", "find: unknown flag"],
    ["grep -f f x", "grep: unknown flag"],
    ["cp -s a b", "cp: unknown flag"],
    ["cat -", "cat: unknown flag"],
    ["echo a -n", "echo: unknown flag"],
    ["head -n x f", "head: bad value of a flag"],
    ["head -n", "head: bad value of a flag"],
    ["head -n 12345678 f", "head: bad value of a flag"],
    ["find . -type l", "find: bad value of a flag"],
    ["find . -name a/b", "find: bad value of a flag"],
    ["mv a", "mv: missing operand"],
    ["grep", "grep: missing operand"],
    ["cd a b", "cd: too many operands"],
    ["uniq a b", "uniq: too many operands"],
    ["pwd x", "pwd: too many operands"],
    ["cat /etc/passwd", "cat: absolute path not allowed"],
    ["cat ../x", "cat: path leaves the task"],
    ["cat a/../../x", "cat: path leaves the task"],
    ["cat a//b", "cat: path not allowed"],
    ["cat a/", "cat: path not allowed"],
    ["cat .submitted", "cat: path not allowed"],
    ["rm -f ./.submitted", "rm: path not allowed"],
    ["echo x > .submitted", "path not allowed"],
    ["submit a/b", "submit: word not allowed"],
    ["submit", "submit: missing operand"],
    ["ls > /tmp/x", "absolute path not allowed"],
    ["ls > ../x", "path leaves the task"],
    ["ls >", "missing path after redirection"],
    ["ls > a b", "only one redirection at the end"],
    ["ls > a > b", "only one redirection at the end"],
    ["ls > a | sort", "only one redirection at the end"],
    ["ls 2> a", "redirection not allowed"],
    ["ls 2>a", "redirection not allowed"],
    ["ls >| a", "redirection not allowed"],
    ["ls >>> a", "redirection not allowed"],
    ["mkdir a > b", "mkdir: redirection not allowed"],
    ["cd a | ls", "cd: not allowed in a pipe"],
    ["ls | rm a", "rm: not allowed in a pipe"],
    ["ls | echo x", "echo: not allowed after a pipe"],
    ["ls | cat f", "cat: no path after a pipe"],
    ["ls | grep x f", "grep: no path after a pipe"],
    ["ls | grep -r x", "grep: no path after a pipe"],
  ])("%j is refused", (text, reason) => {
    expect(line(text)).toBe(`refused: ${reason}`);
  });

  it("sees paths from the working directory", () => {
    expect(line("cat ../../x", "a/b")).toBe("cat ../../x");
    expect(line("cat ../../../x", "a/b")).toBe("refused: cat: path leaves the task");
    expect(line("cat ../.submitted", "a")).toBe("refused: cat: path not allowed");
    expect(line("cat .submitted", "a")).toBe("cat .submitted");
  });

  // Else `..` on disk would no longer be `..` in the text, and a later `cat ../../x` could leave the task.
  it.each([
    "mv . ../../z",
    "mv ../../a z",
    "rm -r ../b",
    "rm -rf ..",
    "rmdir .",
    "mv ../../q ../../a/b ../../z",
  ])("never moves or removes the ground under the shell: %j", (text) => {
    expect(line(text, "a/b")).toMatch(/^refused: (mv|rm|rmdir): the shell stands in that directory$/);
  });

  it("has bash for declared scripts only", () => {
    const scripts = ["run", "d/check"];
    expect(line("bash run", "", scripts)).toBe("bash run");
    expect(line("bash  ./run", "", scripts)).toBe("bash ./run");
    expect(line("bash ../run", "d", scripts)).toBe("bash ../run");
    expect(line("bash check", "d", scripts)).toBe("bash check");
    expect(line("bash check", "", scripts)).toBe("refused: bash: path not allowed");
    expect(line("bash run", "", [])).toBe("refused: unknown program");
    expect(line("bash run", "")).toBe("refused: unknown program");
    expect(line("ls | bash", "", scripts)).toBe("refused: bash: missing operand");
    expect(line("bash /home/agent/run", "", scripts)).toBe("refused: bash: absolute path not allowed");
  });

  it("copies no directory into itself", () => {
    expect(line("cp -r a a/b")).toBe("refused: cp: cannot copy a directory into itself");
    expect(line("cp -r . x", "a")).toBe("refused: cp: cannot copy a directory into itself");
    expect(line("cp -r a ab")).toBe("cp -r a ab");
  });

  const programs = Object.keys(commandGrammar);
  const flags = [...new Set(Object.values(commandGrammar).flatMap((rule) => Object.keys(rule.flags)))];
  const token = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...programs) },
    { weight: 2, arbitrary: fc.constantFrom(...flags, "-rn", "-3", "2", "d", ".", "..") },
    {
      weight: 4,
      arbitrary: fc.constantFrom("a", "b/c", "../x", "../..", "./a", "f.txt", "a-b", "_", ".submitted"),
    },
    { weight: 2, arbitrary: fc.constantFrom("|", ">", ">>") },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "$HOME",
        "`ls`",
        "$(ls)",
        ";",
        "&",
        "~",
        "*",
        "'",
        "/etc",
        "<",
        "\n",
        "{",
        "}",
      ),
    },
    { weight: 1, arbitrary: fc.string({ unit: "grapheme", maxLength: 4 }) },
  );
  const soup = fc
    .tuple(fc.array(token, { maxLength: 9 }), fc.constantFrom(" ", "", "  "))
    .map(([tokens, gap]) => tokens.join(gap));
  const command = fc
    .tuple(fc.constantFrom(...programs), fc.array(token, { maxLength: 6 }))
    .map(([program, rest]) => [program, ...rest].join(" "));
  const texts = fc.oneof(command, soup, fc.string({ unit: "binary", maxLength: 300 }));
  const cwds = fc.constantFrom("", "d", "d/e");

  it("accepts only what is harmless to any shell, whatever the text", () => {
    let accepted = 0;
    fc.assert(
      fc.property(texts, cwds, (text, cwd) => {
        const context = { cwd, scripts: ["a", "d/f.txt"] };
        const parsed = parseCommand(text, context);
        if (!parsed.ok) {
          expect(parsed.reason).toMatch(/^[a-z: ]+$/);
          return;
        }
        accepted++;
        // The one brace group is ours; nothing else leaves the safe alphabet.
        const body = parsed.line.replace(/^\{ (.*); \} (>>?) /, "$1 $2 ");
        expect(body).toMatch(/^[A-Za-z0-9._/|> -]+$/);
        expect(programs).toContain(parsed.program);
        for (const stage of body.split(/ [|>]>? /)) {
          const words = stage.split(" ");
          const [program = ""] = words;
          const isTarget = body.endsWith(`> ${stage}`);
          if (!isTarget) expect(programs).toContain(program);
          // What echo prints and grep looks for are no paths.
          const firstPath =
            isTarget || program !== "grep" ? 0 : words.findIndex((w, i) => i > 0 && w[0] !== "-") + 1;
          for (const word of !isTarget && program === "echo" ? [] : words.slice(firstPath)) {
            expect(word).not.toMatch(/^\//);
            expect(depthBelowRoot(cwd, word)).toBeGreaterThanOrEqual(0);
          }
        }
        // What was rendered means itself.
        expect(parseCommand(body, context)).toEqual(parsed);
      }),
      { numRuns: 4000, seed: 7 },
    );
    expect(accepted).toBeGreaterThan(200);
  });
});

/** Least depth that walking `path` from `cwd` reaches; negative is outside the task. */
function depthBelowRoot(cwd: string, path: string): number {
  let depth = cwd === "" ? 0 : cwd.split("/").length;
  let least = depth;
  for (const part of path.split("/")) {
    depth += part === ".." ? -1 : part === "." || part === "" ? 0 : 1;
    least = Math.min(least, depth);
  }
  return least;
}
