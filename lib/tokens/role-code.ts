import type { Role } from "./role.js";

/** The byte that stands for a role in a `Uint8Array` of roles. */
export const ROLE_CODE: Readonly<Record<Role, number>> = {
  context: 0,
  action: 1,
  observation: 2,
  warning: 3,
};
