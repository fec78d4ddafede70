import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { MUTATIONS } from "../mutations/mutations.js";

const root = join(import.meta.dirname, "..", "..");

test.each(MUTATIONS)("$file: $breaks", ({ file, from, to, red }) => {
  expect(readFileSync(join(root, file), "utf8").split(from)).toHaveLength(2);
  expect(to).not.toBe(from);
  expect(existsSync(join(root, "tests", red))).toBe(true);
});

const INTRODUCTION = `# Mutations

What the tests of the loss and of the optimiser notice. Each line is a way to break one file; \`tests/mutations/mutations.slow.test.ts\` (in
\`npm run test:all\`) makes the change in a copy, compiles what depends on it, and runs the test file in the last column, which is green without
the change and must turn red with it. Of a kernel that is compiled once per tier the scalar tier is broken. The divisions of \`stepWeights\` are
deleted one by one in the quick tests too (\`tests/loss/step-weights-mutants.test.ts\`).

The lists are \`tests/mutations/*-mutations.ts\`; \`npx vitest run tests/docs/mutations.test.ts -u\` writes this page from them.
`;

test("docs/mutations.md is the list", async () => {
  const code = (text: string): string => {
    const line = text.replace(/\s*\n\s*/g, " ").replaceAll("|", "\\|");
    return line === "" ? "nothing" : `\`${line}\``;
  };
  const sections = [...new Set(MUTATIONS.map(({ file }) => file))].map((file) => {
    const lines = MUTATIONS.filter((mutation) => mutation.file === file).map(
      ({ breaks, from, to, red }) =>
        `| ${breaks.replaceAll("|", "\\|")} | ${code(from)} | ${code(to)} | \`${red}\` |`,
    );
    return `\n## ${file}\n\n| broken | instead of | stands | red |\n|---|---|---|---|\n${lines.join("\n")}\n`;
  });
  await expect(INTRODUCTION + sections.join("")).toMatchFileSnapshot(join(root, "docs/mutations.md"));
});
