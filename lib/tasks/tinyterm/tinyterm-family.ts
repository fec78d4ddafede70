import { createMixtureFamily } from "../mixture-family.js";
import { countFamily } from "./count/count-family.js";
import { filesFamily } from "./files/files-family.js";
import { findFamily } from "./find/find-family.js";
import { fixFamily } from "./fix/fix-family.js";
import { navigateFamily } from "./navigate/navigate-family.js";

/** All task families of TinyTerm in equal shares: what its starting policy is made for. */
export const tinytermFamily = createMixtureFamily("tinyterm", [
  findFamily,
  navigateFamily,
  filesFamily,
  countFamily,
  fixFamily,
]);
