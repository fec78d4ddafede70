import type { ReferenceModel } from "../model/reference-model.js";
import type { AdamW } from "../optim/adamw.js";
import type { Trajectory } from "../rollout/trajectory.js";
import type { BuildInfo } from "./build-info-schema.js";
import type { TrainConfig } from "./config/train-config.js";
import type { ImitationData } from "./imitation-data.js";
import type { RunDirectory } from "./run-directory.js";
import type { TrainParts } from "./train-parts.js";

/** A run that is under way: what `train` needs to take its next step. */
export interface TrainingRun {
  config: TrainConfig;
  /** Training steps of the whole run. */
  steps: number;
  parts: TrainParts;
  /** The weights that the KL penalty refers to. */
  reference?: ReferenceModel;
  optimizer: AdamW;
  /** Learning rate of an optimiser step, counted from 0. */
  learningRate(optimizerStep: number): number;
  /** Lambda of a training step, counted from 0. */
  lambda(step: number): number;
  directory: RunDirectory;
  build: BuildInfo;
  /** Steps done. */
  step: number;
  optimizerSteps: number;
  /** The run goes on from a checkpoint; what comes before the first step was done already. */
  resumed: boolean;
  /** False once the run was resumed on another build. */
  exact: boolean;
  /** What algorithm sft learns from. */
  imitation?: ImitationData;
  /** What `eval/observation_nll` is measured on. */
  expertTrajectories: readonly Trajectory[];
  /** SHA-256 of the trajectory files it reads, by path. */
  inputs: Readonly<Record<string, string>>;
  /** The least `eval/observation_nll` any model can reach on them, where the generator knows it. */
  observationFloor?: number;
}
