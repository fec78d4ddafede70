import { expect, test } from "vitest";
import { Meter } from "../../bench/meter.js";

test("a watched method works as before and is counted under its part", () => {
  const meter = new Meter();
  const owner = {
    base: 2,
    spin(turns: number): number {
      let sum = this.base;
      for (let i = 0; i < turns; i++) sum += Math.sqrt(i) * 0;
      return sum;
    },
    fail(): never {
      throw new Error("no");
    },
    other: () => 7,
  };
  expect(meter.watch(owner, { spin: "spinning", fail: "failing" })).toBe(owner);
  expect(owner.spin(5_000_000)).toBe(2);
  expect(owner.spin(1)).toBe(2);
  expect(() => owner.fail()).toThrow("no");
  expect(owner.other()).toBe(7);
  const times = meter.take();
  expect([...times.keys()]).toEqual(["spinning", "failing"]);
  expect(times.get("spinning")?.calls).toBe(2);
  expect(times.get("spinning")?.cpuMs).toBeGreaterThan(0);
  expect(times.get("spinning")?.wallMs).toBeGreaterThan(0);
  expect(times.get("failing")?.calls).toBe(1);
  expect(meter.take().size).toBe(0);
});
