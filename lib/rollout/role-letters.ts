import type { Role } from "../tokens/role.js";
import { ROLE_CODE } from "../tokens/role-code.js";

const BY_ROLE: Readonly<Record<Role, string>> = {
  context: "c",
  action: "a",
  observation: "o",
  warning: "w",
};

/** The letter that stands for a role in a trajectory, indexed by `ROLE_CODE`: `caow`. */
export const ROLE_LETTERS: string = (Object.keys(BY_ROLE) as Role[])
  .sort((a, b) => ROLE_CODE[a] - ROLE_CODE[b])
  .map((role) => BY_ROLE[role])
  .join("");
