import { ConfigError } from "../errors/config-error.js";
import { createMazeFamily } from "./maze/maze-family.js";
import type { TaskFamily } from "./task-family.js";
import { countFamily } from "./tinyterm/count/count-family.js";
import { filesFamily } from "./tinyterm/files/files-family.js";
import { findFamily } from "./tinyterm/find/find-family.js";
import { fixFamily } from "./tinyterm/fix/fix-family.js";
import { navigateFamily } from "./tinyterm/navigate/navigate-family.js";
import { tinytermFamily } from "./tinyterm/tinyterm-family.js";
import { visitFamily } from "./tinyterm/visit/visit-family.js";

const TINYTERM: readonly TaskFamily[] = [
  tinytermFamily,
  findFamily,
  navigateFamily,
  filesFamily,
  countFamily,
  fixFamily,
  visitFamily,
];

/**
 * The task family of a name: `tinyterm`, `tinyterm/find` and its like, `maze` (grids of 3 to 6 cells a side, ood 7 and 8) or `maze/3-4` (those sizes only).
 * @throws ConfigError ERR_CONFIG on any other name.
 */
export function taskFamily(name: string): TaskFamily {
  for (const family of TINYTERM) if (name === family.name) return family;
  if (name === "maze") return createMazeFamily({ name, sizes: [3, 6], oodSizes: [7, 8] });
  const [, from, to] = /^maze\/([3-8])-([3-8])$/.exec(name) ?? [];
  if (from <= to) return createMazeFamily({ name, sizes: [+from, +to], oodSizes: [+from, +to] });
  throw new ConfigError(
    "ERR_CONFIG",
    `[taskFamily] there is no task family ${JSON.stringify(name)}: expected ${TINYTERM.map((family) => family.name).join(", ")}, maze or maze/<from>-<to> with sizes 3 to 8.`,
  );
}
