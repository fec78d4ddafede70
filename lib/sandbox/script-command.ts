import { readingPrograms } from "./reading-programs.js";

const builtins = new Set(["echo", "pwd"]);

/**
 * What runs a script of a task: bash, in which no program is found but those of the closed language that only read. So `show` is not
 * found on any machine, whatever is installed there. The script itself reaches bash as `"$BASH"` and standard programs by `command -p`.
 * @param path one that `parseCommand` accepted.
 */
export function scriptCommand(path: string): string {
  const found = readingPrograms
    .filter((program) => !builtins.has(program))
    .map((program) => `${program}() { command -p ${program} "$@"; }; export -f ${program};`);
  return `( ${found.join(" ")} PATH=/none exec "$BASH" ${path} )`;
}
