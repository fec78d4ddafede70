import type { ExecResult } from "./exec-result.js";
import type { TreeEdit } from "./tree-edit.js";

/** Operations of the wire to the supervisor; `native/sandbox/protocol.h` is the other end and describes the frames. */
export const operation = {
  create: 1,
  exec: 2,
  execOnce: 3,
  readFile: 4,
  writeFile: 5,
  destroy: 6,
  usage: 7,
  cancel: 8,
  readTree: 9,
  editTree: 10,
} as const;

export const replyKind = { ok: 0, error: 1, hello: 2 } as const;

/** Codes of an error reply, as `SandboxError` names them. */
export const errorCodes: Readonly<Record<number, string>> = {
  1: "ERR_SANDBOX_START",
  2: "ERR_SANDBOX_GONE",
  3: "ERR_SANDBOX_DISPOSED",
  4: "ERR_SANDBOX_PATH",
  5: "ERR_SANDBOX_LIMIT",
};

export function encodeRequest(
  op: number,
  call: number,
  sandbox: number,
  parts: readonly Uint8Array[],
): Buffer {
  const head = Buffer.allocUnsafe(13);
  head.writeUInt32LE(9 + parts.reduce((sum, part) => sum + part.length, 0), 0);
  head.writeUInt8(op, 4);
  head.writeUInt32LE(call, 5);
  head.writeUInt32LE(sandbox, 9);
  return parts.length === 0 ? head : Buffer.concat([head, ...parts]);
}

export function encodeU32(...values: number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value, 4 * i);
  return bytes;
}

const editCodes = { "make-directory": 0, "write-file": 1, "remove-file": 2, "remove-directory": 3 } as const;

export function encodeTreeEdits(edits: readonly TreeEdit[]): Buffer {
  const parts = edits.flatMap((edit) => {
    const path = Buffer.from(edit.path, "latin1");
    const head = [Buffer.from([editCodes[edit.kind]]), encodeU32(path.length), path];
    return edit.kind === "write-file" ? [...head, encodeU32(edit.bytes.length), edit.bytes] : head;
  });
  return Buffer.concat(parts);
}

/** The result of `exec` and `execOnce`, and whether a cancel ended it. */
export function decodeResult(payload: Buffer): ExecResult & { cancelled: boolean } {
  const flags = payload.readUInt8(4);
  const cwdEnd = 9 + payload.readUInt32LE(5);
  return {
    output: payload.toString("utf8", cwdEnd),
    exitCode: payload.readInt32LE(0),
    cwd: payload.toString("utf8", 9, cwdEnd),
    truncated: (flags & 1) !== 0,
    timedOut: (flags & 2) !== 0,
    cancelled: (flags & 4) !== 0,
  };
}

/** CPU time of the supervisor itself and of every sandbox that has ended, and how many sandboxes live. */
export interface SupervisorUsage {
  ownCpuMs: number;
  endedCpuMs: number;
  sandboxes: number;
}

export function decodeUsage(payload: Buffer): SupervisorUsage {
  return {
    ownCpuMs: Number(payload.readBigUInt64LE(0)) / 1000,
    endedCpuMs: Number(payload.readBigUInt64LE(8)) / 1000,
    sandboxes: payload.readUInt32LE(16),
  };
}
