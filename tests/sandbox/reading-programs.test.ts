import { expect, it } from "vitest";
import { readingPrograms } from "../../lib/sandbox/reading-programs.js";

it("changes with the command language only when somebody means it: answers are shared and scripts run by this list", () => {
  expect([...readingPrograms].sort()).toEqual(
    "cat cut echo find grep head ls pwd sort tail uniq wc".split(" "),
  );
});
