import { bfloat16ToFloat32 } from "../floats/bfloat16-to-float32.js";
import { float32ToBfloat16 } from "../floats/float32-to-bfloat16.js";
import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import type { AdamWState } from "./adamw-state.js";
import type { Bfloat16Parameter } from "./bfloat16-parameter.js";
import { checkAdamWOptions } from "./check-adamw-options.js";
import { checkAdamWState } from "./check-adamw-state.js";
import { checkOptimizerParameters } from "./check-optimizer-parameters.js";
import { clipGradients } from "./clip-gradients.js";
import { fallbackOptim } from "./fallback-optim.js";
import type { OptimizerParameter } from "./optimizer-parameter.js";

export interface AdamWOptions {
  /** Float32 and bfloat16 ones in any mixture; each in memory of its own. */
  parameters: readonly (OptimizerParameter | Bfloat16Parameter)[];
  learningRate: number;
  /** Default [0.9, 0.95]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  eps?: number;
  /** Decoupled, on parameters with `decay`. Default 0. */
  weightDecay?: number;
  /** Gradients are scaled down to this global norm. Default: never. */
  maxGradNorm?: number;
}

export interface AdamWStep {
  /** Global norm before clipping. */
  gradNorm: number;
  /** What the gradients were multiplied with. */
  clipFactor: number;
  /** True: some gradient is NaN or infinite; nothing was changed. */
  skipped: boolean;
}

/**
 * AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101) over float32 tensors, and bfloat16 ones with a float32 master, in
 * the order of operations of torch.optim.AdamW, clipping folded into the update. Reads `grad`, writes `value`; does not zero gradients.
 */
export class AdamW {
  private readonly parameters: readonly (OptimizerParameter | Bfloat16Parameter)[];
  private readonly first: Float32Array[];
  private readonly second: Float32Array[];
  /** By parameter; null where it is float32. */
  private readonly masters: (Float32Array | null)[];
  private readonly decays: Float64Array;
  private readonly learningRate: number;
  private readonly betas: readonly [number, number];
  private readonly eps: number;
  private readonly maxGradNorm: number;
  private steps = 0;
  private skips = 0;

  /**
   * @throws ArgumentError ERR_OUT_OF_RANGE (an option), ERR_INVALID_SHAPE (grad and value differ, or a name twice), ERR_INVALID_DTYPE (arrays
   *   that do not fit the dtype).
   */
  constructor(options: AdamWOptions) {
    const { parameters, learningRate, betas = [0.9, 0.95], eps = 1e-8, weightDecay = 0 } = options;
    checkAdamWOptions(options);
    checkOptimizerParameters(parameters);
    this.parameters = parameters;
    this.learningRate = learningRate;
    this.betas = betas;
    this.eps = eps;
    this.maxGradNorm = options.maxGradNorm ?? Number.POSITIVE_INFINITY;
    this.first = parameters.map(({ value }) => new Float32Array(value.length));
    this.second = parameters.map(({ value }) => new Float32Array(value.length));
    this.masters = parameters.map((parameter) =>
      parameter.dtype === "bfloat16" ? bfloat16ToFloat32(parameter.value) : null,
    );
    this.decays = Float64Array.from(parameters, ({ decay }) => (decay ? weightDecay : 0));
  }

  /** Updates made so far. */
  get stepCount(): number {
    return this.steps;
  }

  /** Steps that changed nothing because a gradient was not finite. */
  get skippedSteps(): number {
    return this.skips;
  }

  /**
   * One update from the gradients as they stand. A refused call has changed nothing.
   *
   * @throws ArgumentError ERR_OUT_OF_RANGE for the learning rate; ERR_INVALID_DTYPE, ERR_INVALID_SHAPE, ERR_DETACHED, ERR_UNSUPPORTED (resizable)
   *   and ERR_OVERLAP (two tensors in the same memory) for arrays; NativeError when there is an addon and it
   *   cannot be loaded.
   */
  step(options: { learningRate?: number } = {}): AdamWStep {
    const learningRate = options.learningRate ?? this.learningRate;
    checkAdamWOptions({ learningRate });
    const grads = this.parameters.map(({ grad }) => grad);
    const { gradNorm, clipFactor } = clipGradients(grads, this.maxGradNorm);
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
        this.betas[0],
        this.betas[1],
        this.eps,
        clipFactor,
        this.steps + 1,
        this.masters,
      ),
    );
    this.steps++;
    return { gradNorm, clipFactor, skipped: false };
  }

  /**
   * Takes the masters of bfloat16 parameters anew from their values. To be called after other weights were loaded into `value`: without
   * it the next step would bring the old ones back. Float32 parameters need nothing of the kind.
   */
  reloadMasters(): void {
    for (const [i, parameter] of this.parameters.entries())
      if (parameter.dtype === "bfloat16") bfloat16ToFloat32(parameter.value, this.masters[i] ?? undefined);
  }

  /** The state itself, not a copy: the next step changes it. */
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

  /**
   * Takes over a saved state (copied); bfloat16 values become its masters, rounded. Nothing changes unless all of it fits.
   *
   * @throws CheckpointError ERR_CHECKPOINT_MISMATCH when names, lengths or dtypes differ from the parameters'.
   */
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
}
