import { ArgumentError } from "../errors/argument-error.js";
import { ROLE_CODE } from "../tokens/role-code.js";

/**
 * Roles of tokens from the masks other trainers keep. Masks are by token, aligned with the ids (not shifted): [L] of one sequence, or [T] of
 * packed ones for `packedRows`; anything but 0 is in.
 *
 * @returns `ROLE_CODE` of every token, as many; `context` where no mask is set.
 * @throws ArgumentError ERR_INVALID_SHAPE when lengths differ, ERR_OVERLAP when a token is in two masks.
 */
export function rolesFromMasks(masks: {
  action: ArrayLike<number>;
  observation: ArrayLike<number>;
  warning?: ArrayLike<number>;
}): Uint8Array {
  const roles = new Uint8Array(masks.action.length);
  for (const role of ["action", "observation", "warning"] as const) {
    const mask = masks[role];
    if (mask === undefined) continue;
    if (mask.length !== roles.length)
      throw new ArgumentError(
        "ERR_INVALID_SHAPE",
        `[rolesFromMasks] ${role} does not match action: expected ${roles.length} values, got ${mask.length}. Every mask covers every token.`,
      );
    for (let t = 0; t < roles.length; t++) {
      if (!mask[t]) continue;
      if (roles[t] !== ROLE_CODE.context)
        throw new ArgumentError(
          "ERR_OVERLAP",
          `[rolesFromMasks] token ${t} is in two masks: expected one role per token, got ${roles[t] === ROLE_CODE.action ? "action" : "observation"} and ${role}. Decide who wrote it.`,
        );
      roles[t] = ROLE_CODE[role];
    }
  }
  return roles;
}
