import { existsSync } from "node:fs";
import { join } from "node:path";
import type { MissingPeer } from "./missing-peer.js";
import { type OpenPeer, openPeer } from "./open-peer.js";

const LIBRARIES = {
  "TensorFlow.js": { folder: "tensorflow", package: "@tensorflow/tfjs", script: "tensorflow-peer.ts" },
  "jax-js": { folder: "jax", package: "@jax-js/jax", script: "jax-peer.ts" },
};

/** A process with a JavaScript library, taken from the example that has it as a dependency. */
export async function openJavascript(
  name: keyof typeof LIBRARIES,
  examples = join(import.meta.dirname, "..", "..", "examples"),
): Promise<OpenPeer | MissingPeer> {
  const { folder, package: needed, script } = LIBRARIES[name];
  if (!existsSync(join(examples, folder, "node_modules", needed, "package.json")))
    return { name, why: `not installed; \`npm ci\` in examples/${folder} installs it` };
  const args = ["--import", "tsx", join(import.meta.dirname, script), join(examples, folder)];
  return openPeer(name, { command: process.execPath, args }, 1);
}
