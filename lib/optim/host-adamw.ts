import { bfloat16ToFloat32 } from "../floats/bfloat16-to-float32.js";
import { float32ToBfloat16 } from "../floats/float32-to-bfloat16.js";
import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import type { AdamWState } from "./adamw-state.js";
import type { AdamWStep } from "./adamw-step.js";
import type { AdamWSettings, AdamWUpdater } from "./adamw-updater.js";
import type { Bfloat16Parameter } from "./bfloat16-parameter.js";
import { checkAdamWState } from "./check-adamw-state.js";
import { clipGradients } from "./clip-gradients.js";
import { fallbackOptim } from "./fallback-optim.js";
import type { OptimizerParameter } from "./optimizer-parameter.js";

/** AdamW over arrays of the host. */
export class HostAdamW implements AdamWUpdater {
  private readonly parameters: readonly (OptimizerParameter | Bfloat16Parameter)[];
  private readonly settings: AdamWSettings;
  private readonly first: Float32Array[];
  private readonly second: Float32Array[];
  /** By parameter; null where it is float32. */
  private readonly masters: (Float32Array | null)[];
  private readonly decays: Float64Array;
  private steps = 0;
  private skips = 0;

  constructor(parameters: readonly (OptimizerParameter | Bfloat16Parameter)[], settings: AdamWSettings) {
    this.parameters = parameters;
    this.settings = settings;
    this.first = parameters.map(({ value }) => new Float32Array(value.length));
    this.second = parameters.map(({ value }) => new Float32Array(value.length));
    this.masters = parameters.map((parameter) =>
      parameter.dtype === "bfloat16" ? bfloat16ToFloat32(parameter.value) : null,
    );
    this.decays = Float64Array.from(parameters, ({ decay }) => (decay ? settings.weightDecay : 0));
  }

  get stepCount(): number {
    return this.steps;
  }

  get skippedSteps(): number {
    return this.skips;
  }

  step(learningRate: number): AdamWStep {
    const { betas, eps, maxGradNorm } = this.settings;
    const grads = this.parameters.map(({ grad }) => grad);
    const { gradNorm, clipFactor } = clipGradients(grads, maxGradNorm);
    if (!Number.isFinite(gradNorm)) {
      this.skips++;
      return { gradNorm, clipFactor, skipped: true };
    }
    callNative("AdamW", () =>
      (loadOrFallBack() ?? fallbackOptim).adamwStep(
        this.parameters.map(({ value }) => value),
        grads,
        this.first,
        this.second,
        this.decays,
        learningRate,
        betas[0],
        betas[1],
        eps,
        clipFactor,
        this.steps + 1,
        this.masters,
      ),
    );
    this.steps++;
    return { gradNorm, clipFactor, skipped: false };
  }

  reloadMasters(): void {
    for (const [i, parameter] of this.parameters.entries())
      if (parameter.dtype === "bfloat16") bfloat16ToFloat32(parameter.value, this.masters[i] ?? undefined);
  }

  state(): AdamWState {
    const moments: AdamWState["moments"] = {};
    const masters: Record<string, Float32Array> = {};
    for (const [i, { name }] of this.parameters.entries()) {
      moments[name] = { first: this.first[i], second: this.second[i] };
      const master = this.masters[i];
      if (master !== null) masters[name] = master;
    }
    const counts = { stepCount: this.steps, skippedSteps: this.skips };
    return Object.keys(masters).length > 0 ? { ...counts, moments, masters } : { ...counts, moments };
  }

  restore(state: AdamWState): void {
    const bfloat16 = this.parameters.filter(({ dtype }) => dtype === "bfloat16").map(({ name }) => name);
    checkAdamWState(
      state,
      new Map(this.parameters.map(({ name, value }) => [name, value.length])),
      new Set(bfloat16),
    );
    const { moments, masters = {} } = state;
    for (const [i, parameter] of this.parameters.entries()) {
      const { name } = parameter;
      this.first[i].set(moments[name].first);
      this.second[i].set(moments[name].second);
      if (parameter.dtype !== "bfloat16") continue;
      this.masters[i]?.set(masters[name]);
      float32ToBfloat16(masters[name], parameter.value);
    }
    this.steps = state.stepCount;
    this.skips = state.skippedSteps;
  }

  dispose(): void {
    // The garbage collector has arrays of the host.
  }
}
