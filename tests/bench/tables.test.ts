import { expect, test } from "vitest";
import { measure } from "../../bench/measure.js";
import { renderTable } from "../../bench/render-table.js";
import { replaceMarked } from "../../bench/replace-marked.js";

test("a table is Markdown and reads as text", () => {
  const table = {
    title: "Speed",
    columns: ["what", "GB/s", "calls"],
    rows: [
      ["loss", 12.3456, 12345.6],
      ["a longer name", 0.00123456, 7],
    ],
    notes: ["two threads"],
  };
  expect(renderTable(table)).toBe(
    [
      "### Speed",
      "",
      "| what          |    GB/s |  calls |",
      "| ------------- | ------: | -----: |",
      "| loss          |    12.3 | 12,346 |",
      "| a longer name | 0.00123 |      7 |",
      "",
      "- two threads",
      "",
    ].join("\n"),
  );
});

test("only what stands between the markers is replaced", () => {
  const text = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n";
  const once = replaceMarked(text, "a", "new $& table\n");
  expect(once).toBe("before\n<!-- a -->\n\nnew $& table\n\n<!-- /a -->\nafter\n");
  expect(replaceMarked(once, "a", "new $& table\n")).toBe(once);
  for (const bad of ["no markers", "<!-- a -->", "<!-- a --> <!-- /a --> <!-- a --> <!-- /a -->"])
    expect(() => replaceMarked(bad, "a", "x")).toThrow(/expected <!-- a --> and <!-- \/a --> once each/);
});

test("every case is called in every round, and what it throws comes out", () => {
  const order: string[] = [];
  const note = (name: string) => ({
    name,
    run: () => {
      if (order.at(-1) !== name) order.push(name);
      for (let i = 0; i < 20_000; i++) Math.sqrt(i);
    },
  });
  const results = measure([note("a"), note("b"), note("c")], { rounds: 2, minSamples: 2, maxTimeS: 0.01 });
  // The order rotates: each case comes first once.
  expect(order.join("")).toBe("abcbca");
  expect(results.map(({ name }) => name)).toEqual(["a", "b", "c"]);
  for (const { medianMs, lowMs, highMs, cpuMs, roundMs, samples } of results) {
    expect(roundMs).toHaveLength(2);
    expect(samples).toBeGreaterThanOrEqual(4);
    expect(lowMs).toBeLessThanOrEqual(medianMs);
    expect(highMs).toBeGreaterThanOrEqual(medianMs);
    expect(cpuMs).toBeGreaterThan(0);
  }
  const fails = {
    name: "fails",
    run: () => {
      throw new Error("no");
    },
  };
  expect(() => measure([fails])).toThrow("no");
});
