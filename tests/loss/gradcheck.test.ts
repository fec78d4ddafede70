import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tiers } from "../native/each-tier.js";

const root = join(import.meta.dirname, "../..");

function gradcheck(...args: string[]): { status: number | null; stdout: string } {
  return spawnSync(process.execPath, ["--import", "tsx", "scripts/gradcheck.ts", ...args], {
    cwd: root,
    encoding: "utf8",
  });
}

describe("npm run gradcheck", () => {
  it("passes on every tier of this machine", () => {
    const { status, stdout } = gradcheck();
    expect(stdout.match(/^echoLoss on \w+/gm)).toEqual(tiers.map((isa) => `echoLoss on ${isa}`));
    expect(stdout).not.toContain("FAILED");
    expect(stdout).toContain("all passed");
    expect(status).toBe(0);
  });

  it("exits with 1 when a case fails, as float32 must at a tolerance of float64", () => {
    const { status, stdout } = gradcheck("--tolerance", "1e-13");
    expect(stdout).toMatch(/mixed roles, ragged .* FAILED/);
    expect(status).toBe(1);
  });
});
