import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { SafetensorsReader } from "../../lib/model/safetensors-reader.js";
import { AdamW } from "../../lib/optim/adamw.js";
import { OptimizerFile } from "../../lib/train/optimizer-file.js";
import { bfloat16Parameter, parameter } from "../optim/adamw-golden.js";

const directory = mkdtempSync(join(tmpdir(), "echo-grpo-optimizer-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const shapes = [
  { name: "a", shape: [2, 2] },
  { name: "b", shape: [3] },
];

function make(b: "float32" | "bfloat16") {
  const float32 = [parameter("a", [1, 2, 3, 4]), parameter("b", [5, 6, 7])];
  const parameters = b === "float32" ? float32 : [float32[0], bfloat16Parameter(float32[1], "bfloat16")];
  for (const { grad } of parameters) grad.fill(grad instanceof Uint16Array ? 0x3f80 : 1);
  return { parameters, optimizer: new AdamW({ parameters, learningRate: 1e-3 }) };
}

describe("OptimizerFile", () => {
  it.each(["float32", "bfloat16"] as const)("continues exactly, with a parameter of %s", async (b) => {
    const path = join(directory, `${b}.safetensors`);
    const saved = make(b);
    for (let step = 0; step < 3; step++) saved.optimizer.step();
    await OptimizerFile.save(path, saved.optimizer, shapes);
    const file = await SafetensorsReader.open(path);
    const names = ["a.first", "a.second", "b.first", "b.second", ...(b === "bfloat16" ? ["b.master"] : [])];
    expect([...file.entries.keys()].sort()).toEqual(names.sort());
    await file.close();

    const resumed = make(b);
    for (const [i, { value }] of resumed.parameters.entries()) value.set(saved.parameters[i].value);
    await OptimizerFile.load(path, resumed.optimizer, shapes, { stepCount: 3, skippedSteps: 0 });
    expect(resumed.optimizer.state()).toEqual(saved.optimizer.state());
    for (const one of [saved, resumed]) one.optimizer.step();
    expect(resumed.parameters.map(({ value }) => value)).toEqual(saved.parameters.map(({ value }) => value));
    expect(resumed.optimizer.state()).toEqual(saved.optimizer.state());
  });

  it("refuses a file without the master of a bfloat16 parameter", async () => {
    const path = join(directory, "other.safetensors");
    await OptimizerFile.save(path, make("float32").optimizer, shapes);
    const { optimizer } = make("bfloat16");
    await expect(
      OptimizerFile.load(path, optimizer, shapes, { stepCount: 1, skippedSteps: 0 }),
    ).rejects.toMatchObject({ code: "ERR_SAFETENSORS" });
    expect(optimizer.stepCount).toBe(0);
  });
});
