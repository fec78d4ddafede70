import { ArgumentError } from "../errors/argument-error.js";

type Rows = Float64Array | Float32Array | Int32Array | Uint16Array | Uint8Array;

function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (typeof value === "number") return String(value);
  if (typeof value === "object") return value.constructor?.name ?? "an object";
  return typeof value;
}

/**
 * A typed array of one kind over memory that stays where it is.
 *
 * @throws ArgumentError ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_DETACHED, ERR_UNSUPPORTED (resizable buffer), ERR_INVALID_SHAPE.
 */
export function checkRows<T extends Rows>(
  where: string,
  name: string,
  value: unknown,
  kind: new (length: number) => T,
  length: number | undefined,
  shape: string,
): T {
  if (!ArrayBuffer.isView(value))
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] ${name} is unusable: expected ${kind.name} ${shape}, got ${describe(value)}.`,
    );
  if (!(value instanceof kind))
    throw new ArgumentError(
      "ERR_INVALID_DTYPE",
      `[${where}] ${name} has the wrong element type: expected ${kind.name} ${shape}, got ${describe(value)}. Convert it with ${kind.name}.from.`,
    );
  const buffer = value.buffer as ArrayBuffer & {
    detached?: boolean;
    resizable?: boolean;
    growable?: boolean;
  };
  if (buffer.resizable || buffer.growable)
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${where}] ${name} lies in a resizable buffer: expected memory that cannot shrink during the call. Use a plain ArrayBuffer or SharedArrayBuffer.`,
    );
  // Node 20 has no `detached`; a detached buffer has no bytes and refuses a new view.
  if (buffer.detached ?? (buffer.byteLength === 0 && isDetached(buffer)))
    throw new ArgumentError(
      "ERR_DETACHED",
      `[${where}] ${name} has lost its memory: expected ${kind.name} ${shape}, got an array whose buffer was transferred. Use it before transferring it, or a copy.`,
    );
  if (length !== undefined && value.length !== length)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] ${name} has the wrong length: expected ${length} ${shape}, got ${value.length}.`,
    );
  return value;
}

function isDetached(buffer: ArrayBuffer): boolean {
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true;
  }
}
