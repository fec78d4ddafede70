import type { Tree } from "./draw-tree.js";

/**
 * Bash script that accepts exactly this state of the files: these directories, these files and no others, `.submitted` apart, every file with
 * its one word, or empty where the word is "". Builtins only: a verifier starts no program. It runs after the last action, so it may know the
 * answer.
 */
export function treeVerifier({ directories, files }: Tree): string {
  const checks = [
    ...directories.map((path) => `-d ${path}`),
    ...files.map(({ path, word }) => (word === "" ? `-f ${path} && ! -s ${path}` : `-f ${path}`)),
  ];
  const words = files.filter(({ word }) => word !== "");
  return [
    "shopt -s globstar nullglob",
    // Names that begin with a dot count as well, but for this one.
    "GLOBIGNORE=.submitted",
    "paths=(**)",
    `((\${#paths[@]} == ${checks.length})) || exit 1`,
    ...checks.map((check) => `[[ ${check} ]] || exit 1`),
    ...words.map(
      ({ path, word }) =>
        `mapfile lines < ${path} && ((\${#lines[@]} == 1)) && [[ \${lines[0]} == $'${word}\\n' ]] || exit 1`,
    ),
  ].join("\n");
}
