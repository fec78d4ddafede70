import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { addonPath } from "../native/addon-path.js";
import { loadNative } from "../native/load.js";
import { LocalSandboxProvider } from "../sandbox/local-sandbox-provider.js";

interface Finding {
  what: string;
  /** `bad` stops training; `off` is something that is not there and need not be. */
  state: "ok" | "off" | "bad";
  text: string;
}

/** Prints what works on this machine. @returns 1 when something training needs is missing, else 0. */
export async function runDoctorCommand(): Promise<number> {
  const findings = [node(), addon(), cuda(), ...(await terminal()), await disk()];
  const lines = findings.map(({ what, state, text }) => `${state.padEnd(4)} ${what.padEnd(8)} ${text}`);
  process.stdout.write(`${lines.join("\n")}\n`);
  return findings.some((finding) => finding.state === "bad") ? 1 : 0;
}

function node(): Finding {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const enough = major > 20 || (major === 20 && minor >= 19);
  const text = `${process.version}, ${process.platform}-${process.arch}`;
  return enough
    ? { what: "node", state: "ok", text }
    : { what: "node", state: "bad", text: `${text}: expected 20.19 or newer` };
}

function addon(): Finding {
  try {
    const native = loadNative();
    const tiers = native.supportedIsas().join(", ");
    const text = `${addonPath()}, tier ${native.isa()} (of ${tiers}), ${native.threads()} threads on ${cpus().length} cores`;
    return { what: "addon", state: "ok", text };
  } catch (error) {
    return { what: "addon", state: "bad", text: (error as Error).message };
  }
}

function cuda(): Finding {
  const driver = existsSync("/proc/driver/nvidia/version");
  return {
    what: "cuda",
    state: "off",
    text: `training runs on the CPU: this version has no CUDA library (${driver ? "an NVIDIA driver is present and unused" : "no NVIDIA driver here either"})`,
  };
}

/** bash is asked inside the sandbox, where training uses it. */
async function terminal(): Promise<Finding[]> {
  try {
    const provider = await LocalSandboxProvider.start();
    try {
      const layers = provider.layers.length > 0 ? provider.layers.join(", ") : "none";
      const sandbox = await provider.create();
      const { output } = await sandbox.execOnce('echo "$BASH_VERSION"');
      await sandbox.dispose();
      return [
        {
          what: "sandbox",
          state: "ok",
          text: `${join(dirname(addonPath()), "echo_grpo_sandbox")}; active layers: ${layers}`,
        },
        { what: "bash", state: "ok", text: output.trim() },
      ];
    } finally {
      await provider.dispose();
    }
  } catch (error) {
    return [{ what: "sandbox", state: "bad", text: (error as Error).message }];
  }
}

async function disk(): Promise<Finding> {
  const free = await statfs(process.cwd());
  const mebibytes = Math.floor((free.bavail * free.bsize) / 2 ** 20);
  const text = `${mebibytes} MiB free in ${process.cwd()}`;
  return mebibytes >= 256
    ? { what: "disk", state: "ok", text }
    : { what: "disk", state: "bad", text: `${text}: checkpoints may not fit` };
}
