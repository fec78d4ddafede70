import { ArgumentError } from "../errors/argument-error.js";

const LETTERS = "caow";

/**
 * Roles as the letters of a trajectory: c context, a action, o observation, w warning.
 * @param roles `ROLE_CODE` per token.
 * @throws ArgumentError ERR_OUT_OF_RANGE on a byte that is no role.
 */
export function rolesToLetters(roles: ArrayLike<number>): string {
  let letters = "";
  for (let i = 0; i < roles.length; i++) {
    const letter = LETTERS[roles[i]];
    if (letter === undefined)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[rolesToLetters] roles[${i}] is ${roles[i]}: expected a ROLE_CODE, 0 to 3.`,
      );
    letters += letter;
  }
  return letters;
}
