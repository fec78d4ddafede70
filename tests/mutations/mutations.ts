import { LIB_MUTATIONS } from "./lib-mutations.js";
import type { Mutation } from "./mutation.js";
import { NATIVE_LOSS_MUTATIONS } from "./native-loss-mutations.js";
import { NATIVE_OPTIM_MUTATIONS } from "./native-optim-mutations.js";

export const MUTATIONS: readonly Mutation[] = [
  ...NATIVE_LOSS_MUTATIONS,
  ...NATIVE_OPTIM_MUTATIONS,
  ...LIB_MUTATIONS,
];
