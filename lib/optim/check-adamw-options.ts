import { ArgumentError } from "../errors/argument-error.js";

function check(name: string, value: number, expected: string, ok: boolean): void {
  if (typeof value !== "number" || !ok)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[AdamW] ${name} is unusable: expected ${expected}, got ${String(value)}.`,
    );
}

const notNegative = (value: number): boolean => value >= 0 && value < Infinity;

/** The numbers of AdamW. */
export interface AdamWNumbers {
  learningRate: number;
  betas?: readonly [number, number];
  eps?: number;
  weightDecay?: number;
  maxGradNorm?: number;
}

/** @throws ArgumentError ERR_OUT_OF_RANGE naming the first unusable one. */
export function checkAdamWOptions(numbers: AdamWNumbers): void {
  const { learningRate, betas = [0, 0], eps = 1, weightDecay = 0, maxGradNorm = 1 } = numbers;
  check("learningRate", learningRate, "a finite number, at least 0", notNegative(learningRate));
  for (const beta of betas) check("betas", beta, "numbers from 0 to below 1", beta >= 0 && beta < 1);
  check("eps", eps, "a finite number above 0", eps > 0 && eps < Infinity);
  check("weightDecay", weightDecay, "a finite number, at least 0", notNegative(weightDecay));
  check("maxGradNorm", maxGradNorm, "a number above 0", maxGradNorm > 0);
}
