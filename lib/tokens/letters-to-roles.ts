import { DataError } from "../errors/data-error.js";

const LETTERS = "caow";

/**
 * The inverse of `rolesToLetters`: `ROLE_CODE` per token.
 * @throws DataError ERR_TRAJECTORY on a letter that is no role.
 */
export function lettersToRoles(letters: string): Uint8Array {
  const roles = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) {
    const code = LETTERS.indexOf(letters[i]);
    if (code < 0)
      throw new DataError(
        "ERR_TRAJECTORY",
        `[lettersToRoles] letter ${i} is ${JSON.stringify(letters[i])}: expected one of c a o w.`,
      );
    roles[i] = code;
  }
  return roles;
}
