import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { NativeError } from "../errors/native-error.js";
import { addonPath } from "./addon-path.js";
import type { NativeAddon } from "./native-addon.js";

// native/addon/register.h holds the same number.
const ABI_VERSION = 1;
const MEND =
  "Run `npm run build:native` in that directory; it needs g++, make and python3 and explains what is missing.";

let loaded: NativeAddon | undefined;

function checkEnvironment(addon: NativeAddon): void {
  const isa = process.env.ECHO_GRPO_ISA;
  if (isa !== undefined && isa !== "" && !addon.supportedIsas().some((name) => name === isa))
    throw new NativeError(
      "ERR_NATIVE_LOAD",
      `[native] ECHO_GRPO_ISA is not usable on this machine: expected one of ${addon.supportedIsas().join(", ")}, got "${isa}". Unset it to use the fastest.`,
    );
  const threads = process.env.ECHO_GRPO_THREADS;
  if (
    threads !== undefined &&
    threads !== "" &&
    !(/^\d{1,3}$/.test(threads) && +threads >= 1 && +threads <= 256)
  )
    throw new NativeError(
      "ERR_NATIVE_LOAD",
      `[native] ECHO_GRPO_THREADS is not usable: expected a whole number from 1 to 256, got "${threads}". Unset it to use every core.`,
    );
}

/**
 * The native addon, loaded on the first call.
 *
 * @throws NativeError ERR_NATIVE_MISSING when it is not built; ERR_NATIVE_LOAD when it does not load, is of another version, or
 *   ECHO_GRPO_ISA or ECHO_GRPO_THREADS ask for what this machine does not have.
 */
export function loadNative(): NativeAddon {
  if (loaded) return loaded;
  const path = addonPath();
  const platform = `${process.platform}-${process.arch}, Node ${process.version}`;
  if (!existsSync(path))
    throw new NativeError(
      "ERR_NATIVE_MISSING",
      `[native] the addon is not built: expected ${path} (${platform}), found nothing there. ${MEND}`,
    );
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new NativeError(
      "ERR_NATIVE_LOAD",
      `[native] the addon does not load: expected a library for ${platform}, got from ${path}: ${reason}. ${MEND}`,
      { cause },
    );
  }
  if (addon.abiVersion !== ABI_VERSION)
    throw new NativeError(
      "ERR_NATIVE_LOAD",
      `[native] the addon is of another version: expected interface ${ABI_VERSION}, got ${addon.abiVersion} from ${path}. ${MEND}`,
    );
  checkEnvironment(addon);
  loaded = addon;
  return addon;
}
