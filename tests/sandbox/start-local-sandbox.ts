import { type LocalSandboxOptions, LocalSandboxProvider } from "../../lib/sandbox/local-sandbox-provider.js";

/** Starts a provider with only some layers of isolation, as `ECHO_GRPO_SANDBOX_LAYERS` does. */
export async function startLocalSandbox(
  layers: string,
  options?: LocalSandboxOptions,
): Promise<LocalSandboxProvider> {
  const before = process.env.ECHO_GRPO_SANDBOX_LAYERS;
  process.env.ECHO_GRPO_SANDBOX_LAYERS = layers;
  try {
    return await LocalSandboxProvider.start(options);
  } finally {
    if (before === undefined) delete process.env.ECHO_GRPO_SANDBOX_LAYERS;
    else process.env.ECHO_GRPO_SANDBOX_LAYERS = before;
  }
}
