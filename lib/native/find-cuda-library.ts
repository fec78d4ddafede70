import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { installedPackage } from "./installed-package.js";
import { packageRoot } from "./package-root.js";
import { packageVersion } from "./package-version.js";

/** The library's absolute path, or why there is none to open and what to do. */
export type FoundCudaLibrary =
  | { path: string }
  | { reason: "no-library" | "load-failed" | "abi-mismatch"; message: string };

const NAME = "libecho_grpo_cuda.so";
const PACKAGE = "echo-grpo-cuda-linux-x64-gnu";

/**
 * Where libecho_grpo_cuda.so is: what `ECHO_GRPO_CUDA_LIBRARY` names and nothing else, or what was built here, or the package that holds it
 * prebuilt. Opens nothing.
 */
export function findCudaLibrary(): FoundCudaLibrary {
  const named = process.env.ECHO_GRPO_CUDA_LIBRARY ?? "";
  if (named !== "") {
    if (!isAbsolute(named))
      return {
        reason: "load-failed",
        message: `ECHO_GRPO_CUDA_LIBRARY is not usable: expected an absolute path, got "${named}".`,
      };
    if (existsSync(named)) return { path: named };
    return {
      reason: "no-library",
      message: `there is no file ${named}, which ECHO_GRPO_CUDA_LIBRARY names. Correct it, or unset it to look where npm run build:cuda puts the library.`,
    };
  }
  const built = join(packageRoot(), "build", "Release", NAME);
  if (existsSync(built)) return { path: built };
  const packaged =
    process.platform === "linux" && process.arch === "x64" ? installedPackage(PACKAGE) : undefined;
  if (packaged === undefined)
    return {
      reason: "no-library",
      message: `${NAME} is neither built nor installed: expected ${built}, or the package ${PACKAGE}. Build it with \`npm run build:cuda\` in ${packageRoot()}, which needs nvcc of CUDA 13; or name one by ECHO_GRPO_CUDA_LIBRARY.`,
    };
  const version = packageVersion();
  if (packaged.version !== version)
    return {
      reason: "abi-mismatch",
      message: `the prebuilt library is of another version: expected ${PACKAGE} ${version}, got ${packaged.version} in ${packaged.directory}. Install both in one version.`,
    };
  return { path: join(packaged.directory, NAME) };
}
