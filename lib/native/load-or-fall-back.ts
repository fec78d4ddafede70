import { NativeError } from "../errors/native-error.js";
import { loadNative } from "./load.js";
import type { NativeAddon } from "./native-addon.js";
import { packageRoot } from "./package-root.js";

let decided: { addon: NativeAddon | undefined } | undefined;

function warn(reason: string): void {
  process.emitWarning(
    `[native] ${reason}: the loss and the optimiser are computed in TypeScript, right but hundreds of times slower. Build the addon with \`npm run build:native\` in ${packageRoot()}.`,
    { type: "EchoGrpoWarning", code: "WARN_NATIVE_FALLBACK" },
  );
}

function decide(): NativeAddon | undefined {
  const mode = process.env.ECHO_GRPO_FALLBACK ?? "";
  if (!["", "0", "1"].includes(mode))
    throw new NativeError(
      "ERR_NATIVE_LOAD",
      `[native] ECHO_GRPO_FALLBACK is not usable: expected 0 (forbid) or 1 (force), got "${mode}". Unset it to fall back only where there is no addon.`,
    );
  if (mode === "0") return loadNative();
  if (mode === "1") {
    warn("ECHO_GRPO_FALLBACK is 1");
    return undefined;
  }
  try {
    return loadNative();
  } catch (error) {
    // An addon that is there and does not load is a defect to mend, not a platform without one.
    if (!(error instanceof NativeError) || error.code !== "ERR_NATIVE_MISSING") throw error;
    warn(`there is no native addon for ${process.platform}-${process.arch} here`);
    return undefined;
  }
}

/**
 * The addon, or undefined where the caller is to compute in TypeScript: there is no addon, or `ECHO_GRPO_FALLBACK` is 1. The first
 * call decides, and warns once (`WARN_NATIVE_FALLBACK`) when it falls back.
 *
 * @throws NativeError as `loadNative`; ERR_NATIVE_MISSING only with `ECHO_GRPO_FALLBACK` 0; ERR_NATIVE_LOAD for another value of it.
 */
export function loadOrFallBack(): NativeAddon | undefined {
  decided ??= { addon: decide() };
  return decided.addon;
}
