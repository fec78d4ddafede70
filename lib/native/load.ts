import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { NativeError } from "../errors/native-error.js";
import { addonPath } from "./addon-path.js";
import type { NativeAddon } from "./native-addon.js";
import { packageRoot } from "./package-root.js";
import { packageVersion } from "./package-version.js";
import { platformPackage, platformPackageNames } from "./platform-package.js";

// native/addon/register.h holds the same number.
const ABI_VERSION = 4;
const MEND = `Run \`npm run build:native\` in ${packageRoot()}; it needs g++, make and python3 and explains what is missing.`;

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

/** Kernels of another version would compute other numbers in silence. */
function checkPackageVersion(path: string): void {
  const packaged = platformPackage();
  if (packaged === undefined || dirname(path) !== packaged.directory) return;
  const version = packageVersion();
  if (packaged.version !== version)
    throw new NativeError(
      "ERR_NATIVE_VERSION",
      `[native] the prebuilt addon is of another version: expected ${packaged.name} ${version}, got ${packaged.version} in ${packaged.directory}. Install both in one version, or build the addon: ${MEND}`,
    );
}

/**
 * The native addon, loaded on the first call: what was built in this package's directory, else the optional package for this platform.
 *
 * @throws NativeError ERR_NATIVE_MISSING when there is none; ERR_NATIVE_VERSION when the optional package is of another version than this
 *   one; ERR_NATIVE_LOAD when it does not load, has another interface, or ECHO_GRPO_ISA or ECHO_GRPO_THREADS ask for what this machine does
 *   not have.
 */
export function loadNative(): NativeAddon {
  if (loaded) return loaded;
  const path = addonPath();
  const platform = `${process.platform}-${process.arch}, Node ${process.version}`;
  if (!existsSync(path)) {
    const names = platformPackageNames(process.platform, process.arch, true);
    const packages =
      names.length > 0
        ? `the package ${names.join(" or ")}`
        : "a package for this platform, of which there is none";
    throw new NativeError(
      "ERR_NATIVE_MISSING",
      `[native] the addon is not built: expected ${path}, or ${packages} (${platform}), found neither. Only echo-grpo/loss and echo-grpo/optim can do without. ${MEND}`,
    );
  }
  checkPackageVersion(path);
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
