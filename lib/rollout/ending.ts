import { EchoGrpoError } from "../errors/echo-grpo-error.js";
import type { StopReason } from "./stop-reason.js";

const LONGEST_MESSAGE = 2_000;

/** Why and how a rollout ended. */
export interface Ending {
  stopReason: StopReason;
  error?: { code: string; message: string };
}

/** The ending for something that threw: its own code where it has one. */
export function failure(stopReason: StopReason, error: unknown, fallbackCode: string): Ending {
  const own = error instanceof Error && "code" in error ? error.code : undefined;
  const code = typeof own === "string" && own !== "" ? own : fallbackCode;
  const message = (error instanceof Error ? error.message : String(error)).slice(0, LONGEST_MESSAGE);
  return { stopReason, error: { code, message } };
}

/** The ending for a run that was asked to stop; the error is there when a deadline asked. */
export function cancellation(signal: AbortSignal | undefined): Ending {
  const reason: unknown = signal?.reason;
  return reason instanceof EchoGrpoError
    ? failure("cancelled", reason, reason.code)
    : { stopReason: "cancelled" };
}
