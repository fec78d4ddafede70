import { describe, expect, it } from "vitest";
import { lettersToRoles } from "../../lib/tokens/letters-to-roles.js";
import { ROLE_CODE } from "../../lib/tokens/role-code.js";
import { rolesToLetters } from "../../lib/tokens/roles-to-letters.js";

describe("role letters", () => {
  it("stand for the roles, both ways", () => {
    const roles = [ROLE_CODE.context, ROLE_CODE.action, ROLE_CODE.observation, ROLE_CODE.warning];
    expect(rolesToLetters(roles)).toBe("caow");
    expect([...lettersToRoles("caow")]).toEqual(roles);
    expect(rolesToLetters(lettersToRoles("ccaaoowwca"))).toBe("ccaaoowwca");
  });

  it("refuse anything else", () => {
    expect(() => rolesToLetters([4])).toThrow(expect.objectContaining({ code: "ERR_OUT_OF_RANGE" }));
    expect(() => lettersToRoles("cx")).toThrow(expect.objectContaining({ code: "ERR_TRAJECTORY" }));
  });
});
