import { ArgumentError } from "../errors/argument-error.js";
import { CheckpointError } from "../errors/checkpoint-error.js";
import { callNative } from "../native/call-native.js";
import { loadNative } from "../native/load.js";
import type { AdamWState } from "./adamw-state.js";
import { clipGradients } from "./clip-gradients.js";
import type { OptimizerParameter } from "./optimizer-parameter.js";

export interface AdamWOptions {
  parameters: readonly OptimizerParameter[];
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

function checkNumber(name: string, value: number, expected: string, ok: boolean): void {
  if (typeof value !== "number" || !ok)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[AdamW] ${name} is unusable: expected ${expected}, got ${String(value)}.`,
    );
}

/**
 * AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101) over float32 tensors, in the order of operations of
 * torch.optim.AdamW, clipping folded into the update. Reads `grad`, writes `value`; does not zero gradients.
 */
export class AdamW {
  private readonly parameters: readonly OptimizerParameter[];
  private readonly first: Float32Array[];
  private readonly second: Float32Array[];
  private readonly decays: Float64Array;
  private readonly learningRate: number;
  private readonly betas: readonly [number, number];
  private readonly eps: number;
  private readonly maxGradNorm: number;
  private steps = 0;
  private skips = 0;

  /** @throws ArgumentError ERR_OUT_OF_RANGE (an option), ERR_INVALID_SHAPE (grad and value differ, or a name twice). */
  constructor(options: AdamWOptions) {
    const { parameters, learningRate, betas = [0.9, 0.95], eps = 1e-8, weightDecay = 0 } = options;
    const maxGradNorm = options.maxGradNorm ?? Number.POSITIVE_INFINITY;
    checkNumber(
      "learningRate",
      learningRate,
      "a finite number, at least 0",
      learningRate >= 0 && learningRate < Infinity,
    );
    for (const beta of betas) checkNumber("betas", beta, "numbers from 0 to below 1", beta >= 0 && beta < 1);
    checkNumber("eps", eps, "a finite number above 0", eps > 0 && eps < Infinity);
    checkNumber(
      "weightDecay",
      weightDecay,
      "a finite number, at least 0",
      weightDecay >= 0 && weightDecay < Infinity,
    );
    checkNumber("maxGradNorm", maxGradNorm, "a number above 0", maxGradNorm > 0);
    const names = new Set<string>();
    for (const { name, value, grad } of parameters) {
      if (names.has(name))
        throw new ArgumentError(
          "ERR_INVALID_SHAPE",
          `[AdamW] two parameters are named ${name}: expected every name once. Checkpoints store moments by name.`,
        );
      names.add(name);
      if (value.length !== grad.length)
        throw new ArgumentError(
          "ERR_INVALID_SHAPE",
          `[AdamW] the gradient of ${name} does not fit: expected length ${value.length}, got ${grad.length}.`,
        );
    }
    this.parameters = parameters;
    this.learningRate = learningRate;
    this.betas = betas;
    this.eps = eps;
    this.maxGradNorm = maxGradNorm;
    this.first = parameters.map(({ value }) => new Float32Array(value.length));
    this.second = parameters.map(({ value }) => new Float32Array(value.length));
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
   * One update from the gradients as they stand.
   *
   * @throws ArgumentError ERR_OUT_OF_RANGE for the learning rate; NativeError when the addon cannot be loaded.
   */
  step(options: { learningRate?: number } = {}): AdamWStep {
    const learningRate = options.learningRate ?? this.learningRate;
    checkNumber(
      "learningRate",
      learningRate,
      "a finite number, at least 0",
      learningRate >= 0 && learningRate < Infinity,
    );
    const grads = this.parameters.map(({ grad }) => grad);
    const { gradNorm, clipFactor } = clipGradients(grads, this.maxGradNorm);
    if (!Number.isFinite(gradNorm)) {
      this.skips++;
      return { gradNorm, clipFactor, skipped: true };
    }
    callNative("AdamW", () =>
      loadNative().adamwStep(
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
      ),
    );
    this.steps++;
    return { gradNorm, clipFactor, skipped: false };
  }

  /** The state itself, not a copy: the next step changes it. */
  state(): AdamWState {
    const moments: AdamWState["moments"] = {};
    for (const [i, { name }] of this.parameters.entries())
      moments[name] = { first: this.first[i], second: this.second[i] };
    return { stepCount: this.steps, skippedSteps: this.skips, moments };
  }

  /**
   * Takes over a saved state (copied). Nothing changes unless all of it fits.
   *
   * @throws CheckpointError ERR_CHECKPOINT_MISMATCH when names or lengths differ from the parameters'.
   */
  restore(state: AdamWState): void {
    const mismatch = (what: string): never => {
      throw new CheckpointError("ERR_CHECKPOINT_MISMATCH", `[AdamW.restore] ${what}`);
    };
    if (!Number.isInteger(state.stepCount) || state.stepCount < 0)
      mismatch(`stepCount is unusable: expected a whole number, at least 0, got ${String(state.stepCount)}.`);
    const expected = new Set(this.parameters.map(({ name }) => name));
    for (const name of Object.keys(state.moments))
      if (!expected.has(name)) mismatch(`moments of ${name}: expected a parameter of that name, got none.`);
    for (const { name, value } of this.parameters) {
      const moments = state.moments[name];
      if (moments === undefined) mismatch(`moments of ${name} are missing: expected two arrays, got none.`);
      for (const part of ["first", "second"] as const)
        if (moments[part].length !== value.length)
          mismatch(
            `${part} moment of ${name}: expected length ${value.length}, got ${moments[part].length}.`,
          );
    }
    for (const [i, { name }] of this.parameters.entries()) {
      this.first[i].set(state.moments[name].first);
      this.second[i].set(state.moments[name].second);
    }
    this.steps = state.stepCount;
    this.skips = state.skippedSteps;
  }
}
