import type { Role } from "./role.js";

/** A piece of text with one author. */
export interface Segment {
  text: string;
  role: Role;
}
