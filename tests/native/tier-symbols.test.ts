import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const objects = join(root, "build/Release/obj.target");
const { bf16TierUnits, tierUnits, tiers } = JSON.parse(
  readFileSync(join(root, "native/sources.json"), "utf8"),
) as {
  bf16TierUnits: string[];
  tierUnits: string[];
  tiers: Record<string, string[]>;
};
const names = Object.keys(tiers).filter((tier) => existsSync(join(objects, `echo_grpo_${tier}`)));
const nm = spawnSync("nm", ["--version"]).status === 0;
if (!nm || names.length === 0)
  console.warn("NOT VERIFIED: that tier units hold no weak symbol (no nm, or no object files)");

// A weak symbol (an inline function with external linkage) exists once in the library, whichever tier's copy the linker keeps: if that
// is the AVX-512 one, the portable path ends in an illegal instruction on older machines.
describe.skipIf(!nm)("objects of the tier units", () => {
  it.each(names)("%s: no weak symbols, and all code below its own namespace", (tier) => {
    const units = tier === "avx512bf16" ? bf16TierUnits : tierUnits;
    const files = units.map((unit) => join(objects, `echo_grpo_${tier}`, unit.replace(/\.cc$/, ".o")));
    expect(readdirSync(join(objects, `echo_grpo_${tier}`))).not.toHaveLength(0);
    const { stdout, status } = spawnSync("nm", ["-C", "--defined-only", ...files], { encoding: "utf8" });
    expect(status).toBe(0);
    const symbols = [...stdout.matchAll(/^[0-9a-f]+ (\w) (.*)$/gm)].map(([, kind, name]) => ({ kind, name }));
    expect(symbols.filter(({ kind }) => /[WwVvu]/.test(kind))).toEqual([]);
    const exported = symbols.filter(({ kind }) => kind !== kind.toLowerCase());
    expect(exported.length).toBeGreaterThanOrEqual(units.length);
    for (const { name } of exported) expect(name).toMatch(new RegExp(`^echo::${tier}::`));
  });
});
