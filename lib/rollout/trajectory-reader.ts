import { createReadStream } from "node:fs";
import { DataError } from "../errors/data-error.js";
import type { Trajectory } from "./trajectory.js";
import { trajectorySchema } from "./trajectory-schema.js";

/** Something in a trajectory file that is not a trajectory. */
export interface TrajectoryProblem {
  /** `[file:line:field] what is wrong`. */
  message: string;
  path: string;
  /** From 1. */
  line: number;
  /** Dotted path of the first wrong field; absent when the line is not JSON. */
  field?: string;
  /** The last line lacks its end, as after a crash in the middle of a write. Never thrown. */
  torn: boolean;
}

/** How `readTrajectories` treats what it cannot use. */
export interface TrajectoryReaderOptions {
  /** Default `throw`. */
  onCorrupt?: "throw" | "skip";
  /** Told of every problem that is not thrown. */
  onProblem?(problem: TrajectoryProblem): void;
  /** Longest line in bytes; a longer one is corrupt and not kept in memory. Default 64 MiB. */
  maxLineBytes?: number;
}

const NEWLINE = 0x0a;

/**
 * The trajectories of a JSONL file, in order. The file is only read, in pieces, and memory holds one line at a time.
 *
 * @throws DataError ERR_TRAJECTORY on a corrupt line, naming file, line and field, unless `onCorrupt` is `skip`; when the file cannot be read.
 */
export async function* readTrajectories(
  path: string,
  options: TrajectoryReaderOptions = {},
): AsyncGenerator<Trajectory, void, undefined> {
  const maxLineBytes = options.maxLineBytes ?? 64 * 1024 * 1024;
  let number = 0;
  for await (const line of splitLines(path, maxLineBytes)) {
    number++;
    const parsed = parseLine(line, maxLineBytes);
    if ("trajectory" in parsed) {
      yield parsed.trajectory;
      continue;
    }
    const field = parsed.field === undefined ? "" : `:${parsed.field}`;
    const torn = !line.ended;
    const what = torn ? `torn last line, ${parsed.wrong}` : parsed.wrong;
    const advice = torn ? "It was not used." : "Mend or remove the line, or skip corrupt lines.";
    const message = `[${path}:${number}${field}] ${what}. ${advice}`;
    if (!torn && options.onCorrupt !== "skip") throw new DataError("ERR_TRAJECTORY", message);
    options.onProblem?.({
      message,
      path,
      line: number,
      ...(parsed.field === undefined ? {} : { field: parsed.field }),
      torn,
    });
  }
}

/** A line without its newline; `bytes` is undefined when it was too long. */
interface RawLine {
  bytes: Uint8Array | undefined;
  ended: boolean;
}

async function* splitLines(path: string, maxLineBytes: number): AsyncGenerator<RawLine, void, undefined> {
  let pieces: Uint8Array[] = [];
  let size = 0;
  const add = (piece: Uint8Array): void => {
    size += piece.length;
    if (size > maxLineBytes) pieces = [];
    else pieces.push(piece);
  };
  const take = (ended: boolean): RawLine => {
    const bytes = size > maxLineBytes ? undefined : Buffer.concat(pieces);
    pieces = [];
    size = 0;
    return { bytes, ended };
  };
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        add(chunk.subarray(start, end));
        start = end + 1;
        yield take(true);
      }
      if (start < chunk.length) add(chunk.subarray(start));
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new DataError(
      "ERR_TRAJECTORY",
      `[${path}] cannot be read: ${code ?? String(error)}. Check the path.`,
      {
        cause: error,
      },
    );
  }
  if (size > 0) yield take(false);
}

type Parsed = { trajectory: Trajectory } | { wrong: string; field?: string };

function parseLine(line: RawLine, maxLineBytes: number): Parsed {
  if (!line.bytes) return { wrong: `the line is longer than ${maxLineBytes} bytes` };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line.bytes));
  } catch (error) {
    // TypeError: not UTF-8. SyntaxError: not JSON. RangeError: nested deeper than the stack.
    const kind = error instanceof TypeError ? "UTF-8" : "JSON";
    return { wrong: `not ${kind}: ${(error as Error).message.slice(0, 200)}` };
  }
  const parsed = trajectorySchema.safeParse(value);
  if (parsed.success) return { trajectory: parsed.data };
  const issue = parsed.error.issues[0];
  const keys = issue.code === "unrecognized_keys" ? [issue.keys[0]] : [];
  const field = [...issue.path, ...keys].join(".");
  return field === "" ? { wrong: issue.message } : { wrong: issue.message, field };
}
