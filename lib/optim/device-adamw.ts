import type { DevicePlace } from "../cuda/device-place.js";
import { DeviceTensor } from "../cuda/device-tensor.js";
import { bfloat16ToFloat32 } from "../floats/bfloat16-to-float32.js";
import { float32ToBfloat16 } from "../floats/float32-to-bfloat16.js";
import { callNative } from "../native/call-native.js";
import { loadNative } from "../native/load.js";
import type { NativeDeviceOptimizer } from "../native/native-device-optim.js";
import type { AdamWState } from "./adamw-state.js";
import type { AdamWStep } from "./adamw-step.js";
import type { AdamWSettings, AdamWUpdater } from "./adamw-updater.js";
import { checkAdamWState } from "./check-adamw-state.js";
import { clipFactor } from "./clip-factor.js";
import type { DeviceParameter } from "./device-parameter.js";

const WHERE = "AdamW";

/** What a parameter has beside itself, on its device. */
interface Moments {
  first: DeviceTensor;
  second: DeviceTensor;
  /** Null where the parameter is float32. */
  master: DeviceTensor | null;
}

const numbers = (tensor: DeviceTensor): Float32Array => tensor.toHost().data as Float32Array;

function makeMoments({ value }: DeviceParameter): Moments {
  const place: DevicePlace = { device: value.device, stream: value.stream };
  const zeros = (): DeviceTensor => new DeviceTensor([value.length], "float32", place);
  return { first: zeros(), second: zeros(), master: value.dtype === "bfloat16" ? zeros() : null };
}

/** AdamW over tensors of a GPU. A step is queued: what became of it is read when somebody asks, or before the next one. */
export class DeviceAdamW implements AdamWUpdater {
  private readonly parameters: readonly DeviceParameter[];
  private readonly settings: AdamWSettings;
  private readonly moments: Moments[] = [];
  private readonly optimizer: NativeDeviceOptimizer;
  private steps = 0;
  private skips = 0;
  /** Of the native counter, which starts at 0 when this was restored from a state with other skips. */
  private skipsBefore = 0;
  private pending: { result?: AdamWStep } | undefined;

  /** @throws as DeviceTensor's constructor; ArgumentError ERR_OVERLAP. */
  constructor(parameters: readonly DeviceParameter[], settings: AdamWSettings) {
    this.parameters = parameters;
    this.settings = settings;
    try {
      for (const parameter of parameters) this.moments.push(makeMoments(parameter));
      this.reloadMasters();
      this.optimizer = callNative(WHERE, () =>
        loadNative().createDeviceOptimizer(
          parameters.map(({ value }) => value.memory(WHERE)),
          parameters.map(({ grad }) => grad.memory(WHERE)),
          this.moments.map(({ first }) => first.memory(WHERE)),
          this.moments.map(({ second }) => second.memory(WHERE)),
          this.moments.map(({ master }) => master?.memory(WHERE) ?? null),
          Float64Array.from(parameters, ({ decay }) => (decay ? settings.weightDecay : 0)),
        ),
      );
    } catch (error) {
      this.disposeMoments();
      throw error;
    }
  }

  get stepCount(): number {
    this.settle();
    return this.steps;
  }

  get skippedSteps(): number {
    this.settle();
    return this.skips;
  }

  step(learningRate: number): AdamWStep {
    for (const { value, grad } of this.parameters) {
      value.memory(WHERE);
      grad.memory(WHERE);
    }
    this.settle();
    const { betas, eps, maxGradNorm } = this.settings;
    callNative(WHERE, () =>
      loadNative().stepDeviceOptimizer(this.optimizer, learningRate, betas[0], betas[1], eps, maxGradNorm),
    );
    const pending: { result?: AdamWStep } = {};
    this.pending = pending;
    const read = (): AdamWStep => {
      // Whatever came after has settled this one.
      pending.result ??= this.read();
      return pending.result;
    };
    return {
      get gradNorm() {
        return read().gradNorm;
      },
      get clipFactor() {
        return read().clipFactor;
      },
      get skipped() {
        return read().skipped;
      },
    };
  }

  reloadMasters(): void {
    for (const [i, { value }] of this.parameters.entries())
      if (value.dtype === "bfloat16")
        this.moments[i].master?.copyFrom(bfloat16ToFloat32(value.toHost().data as Uint16Array));
  }

  state(): AdamWState {
    this.settle();
    const moments: AdamWState["moments"] = {};
    const masters: Record<string, Float32Array> = {};
    for (const [i, { name }] of this.parameters.entries()) {
      const { first, second, master } = this.moments[i];
      moments[name] = { first: numbers(first), second: numbers(second) };
      if (master !== null) masters[name] = numbers(master);
    }
    const counts = { stepCount: this.steps, skippedSteps: this.skips };
    return Object.keys(masters).length > 0 ? { ...counts, moments, masters } : { ...counts, moments };
  }

  restore(state: AdamWState): void {
    const bfloat16 = this.parameters.filter(({ value }) => value.dtype === "bfloat16");
    checkAdamWState(
      state,
      new Map(this.parameters.map(({ name, value }) => [name, value.length])),
      new Set(bfloat16.map(({ name }) => name)),
    );
    this.settle();
    const { moments, masters = {} } = state;
    for (const [i, { name, value }] of this.parameters.entries()) {
      const { first, second, master } = this.moments[i];
      first.copyFrom(moments[name].first);
      second.copyFrom(moments[name].second);
      if (master === null) continue;
      master.copyFrom(masters[name]);
      (value as DeviceTensor<"bfloat16">).copyFrom(float32ToBfloat16(masters[name]));
    }
    callNative(WHERE, () => loadNative().setDeviceOptimizerStep(this.optimizer, state.stepCount));
    this.skipsBefore += state.skippedSteps - this.skips;
    this.steps = state.stepCount;
    this.skips = state.skippedSteps;
  }

  dispose(): void {
    this.settle();
    callNative(WHERE, () => loadNative().disposeDeviceOptimizer(this.optimizer));
    this.disposeMoments();
  }

  private disposeMoments(): void {
    for (const { first, second, master } of this.moments)
      for (const tensor of [first, second, master]) tensor?.dispose();
  }

  private settle(): void {
    if (this.pending !== undefined) this.pending.result ??= this.read();
  }

  private read(): AdamWStep {
    const [gradNorm, step, skipped, taken] = callNative(WHERE, () =>
      loadNative().deviceOptimizerResult(this.optimizer),
    );
    this.steps = step;
    this.skips = this.skipsBefore + skipped;
    return { gradNorm, clipFactor: clipFactor(gradNorm, this.settings.maxGradNorm), skipped: !taken };
  }
}
