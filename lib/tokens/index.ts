export { lettersToRoles } from "./letters-to-roles.js";
export type { Role } from "./role.js";
export { ROLE_CODE } from "./role-code.js";
export { rolesToLetters } from "./roles-to-letters.js";
export type { Segment } from "./segment.js";
export { Tokenizer } from "./tokenizer.js";
export { Transcript } from "./transcript.js";
