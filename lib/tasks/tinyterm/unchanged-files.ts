/**
 * A bash condition that is true when files hold exactly these texts. Builtins only: it starts no program, not even a subshell.
 * @param files paths relative to the working directory, in the alphabet of the command language.
 */
export function unchangedFiles(files: readonly { path: string; text: string }[]): string {
  const held = files.map(({ path, text }) => {
    const quoted = `'${text.replaceAll("'", "'\\''")}'`;
    // `read` fails at the end of a file, having read it; what it reads has no zero byte, and no file of a task has one.
    return `{ held=; IFS= read -r -d '' held < ${path}; [[ $held == ${quoted} ]]; }`;
  });
  return ["[[ 1 ]]", ...held].join(" && ");
}
