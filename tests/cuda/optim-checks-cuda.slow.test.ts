import { beforeAll, describe, expect, it } from "vitest";
import { DeviceTensor } from "../../lib/cuda/device-tensor.js";
import { loadNative } from "../../lib/native/load.js";
import type { NativeAddon } from "../../lib/native/native-addon.js";
import type { NativeDeviceMemory } from "../../lib/native/native-cuda.js";
import type { NativeDeviceOptimizer } from "../../lib/native/native-device-optim.js";
import { useEmulated } from "./use-emulated.js";

useEmulated();

/** What the addon says, whatever TypeScript has checked before. */
const coded = (code: string, message: RegExp): Error =>
  expect.objectContaining({ code, message: expect.stringMatching(message) }) as Error;

type Lists = Parameters<NativeAddon["createDeviceOptimizer"]>;

describe("the addon's optimiser on a device", () => {
  let native: NativeAddon;
  const tensors: DeviceTensor[] = [];
  const memory = (length: number): NativeDeviceMemory => {
    const tensor = new DeviceTensor([length]);
    tensors.push(tensor);
    return tensor.memory("test");
  };
  const lists = (): Lists => [
    [memory(4)],
    [memory(4)],
    [memory(4)],
    [memory(4)],
    [null],
    new Float64Array(1),
  ];
  const create = (i: number, value: unknown) => (): NativeDeviceOptimizer => {
    const given = lists() as unknown[];
    given[i] = value;
    return native.createDeviceOptimizer(...(given as unknown as Lists));
  };

  beforeAll(() => {
    memory(1);
    native = loadNative();
  });

  it.each([0, 1, 2, 3, 4])("refuses list %i of another kind", (i) => {
    expect(create(i, 7)).toThrow(coded("ERR_INVALID_TYPE", /expected an array/));
    expect(create(i, new Array((1 << 20) + 1))).toThrow(coded("ERR_OUT_OF_RANGE", /too many tensors/));
    const getter = Object.defineProperty([null], 0, {
      get: () => {
        throw new Error("mine");
      },
    });
    expect(create(i, getter)).toThrow("mine");
  });

  it("refuses tensors that are none, are missing or differ in size", () => {
    for (const i of [0, 1, 2, 3]) expect(create(i, [{}])).toThrow(coded("ERR_INVALID_TYPE", /\[0\]/));
    for (const i of [1, 2, 3]) expect(create(i, [])).toThrow(coded("ERR_INVALID_TYPE", /\[0\]/));
    for (const i of [1, 2, 3])
      expect(create(i, [memory(5)])).toThrow(coded("ERR_INVALID_SHAPE", /expected 16 bytes, got 20/));
    // Beside a master the value is bfloat16: eight of them.
    expect(create(4, [memory(4)])).toThrow(coded("ERR_INVALID_SHAPE", /expected 32 bytes, got 16/));
    expect(create(5, new Float64Array(2))).toThrow(coded("ERR_INVALID_SHAPE", /weightDecays/));
    expect(create(5, new Float32Array(1))).toThrow(coded("ERR_INVALID_DTYPE", /weightDecays/));
    const shared = memory(4);
    expect(() =>
      native.createDeviceOptimizer([shared], [shared], [memory(4)], [memory(4)], [null], new Float64Array(1)),
    ).toThrow(coded("ERR_OVERLAP", /share memory/));
  });

  it("refuses other objects, other numbers and what was disposed", () => {
    const optimizer = native.createDeviceOptimizer(...lists());
    const step =
      (...numbers: unknown[]) =>
      () =>
        native.stepDeviceOptimizer(optimizer, ...(numbers as [number, number, number, number, number]));
    expect(step("1", 0.9, 0.9, 1e-8, 1)).toThrow(coded("ERR_INVALID_TYPE", /learningRate/));
    expect(step(1, 0.9, 0.9, 1e-8)).toThrow(coded("ERR_INVALID_TYPE", /maxGradNorm/));
    expect(step(1, 0.9, 0.9, 1e-8, 0)).toThrow(coded("ERR_CUDA", /max_norm is not above 0/));
    expect(() => native.setDeviceOptimizerStep(optimizer, -1)).toThrow(coded("ERR_OUT_OF_RANGE", /step/));
    expect(native.deviceOptimizerResult(optimizer)).toEqual([0, 0, 0, false]);
    step(1, 0.9, 0.9, 1e-8, 1)();
    expect(native.deviceOptimizerResult(optimizer)).toEqual([0, 1, 0, true]);
    const wrong = {} as NativeDeviceOptimizer;
    for (const call of [native.deviceOptimizerResult, native.disposeDeviceOptimizer])
      expect(() => call(wrong)).toThrow(
        coded("ERR_INVALID_TYPE", /expected what createDeviceOptimizer returned/),
      );
    native.disposeDeviceOptimizer(optimizer);
    expect(() => native.deviceOptimizerResult(optimizer)).toThrow(coded("ERR_DISPOSED", /disposed/));
  });

  it("refuses gradients without their types", () => {
    expect(() => native.deviceGradNorm([memory(4)], new Uint16Array(2))).toThrow(
      coded("ERR_INVALID_SHAPE", /bfloat16/),
    );
    expect(() => native.deviceGradNorm(7 as never, new Uint16Array(0))).toThrow(
      coded("ERR_INVALID_TYPE", /grads/),
    );
    expect(native.deviceGradNorm([], new Uint16Array(0))).toBe(0);
  });
});
