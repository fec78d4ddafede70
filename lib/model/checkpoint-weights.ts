import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "../errors/data-error.js";
import { SafetensorsReader } from "./safetensors-reader.js";

/** The weights of a Hugging Face directory: one `model.safetensors`, or the shards that `model.safetensors.index.json` lists. */
export class CheckpointWeights {
  readonly directory: string;
  private readonly shards: readonly SafetensorsReader[];
  private readonly owners: ReadonlyMap<string, SafetensorsReader>;

  private constructor(
    directory: string,
    shards: SafetensorsReader[],
    owners: Map<string, SafetensorsReader>,
  ) {
    this.directory = directory;
    this.shards = shards;
    this.owners = owners;
  }

  /** @throws DataError ERR_SAFETENSORS when there are no weights or a file is damaged. */
  static async open(directory: string): Promise<CheckpointWeights> {
    const single = join(directory, "model.safetensors");
    const index = `${single}.index.json`;
    // transformers prefers the single file, too.
    if (existsSync(single) || !existsSync(index)) {
      const reader = await SafetensorsReader.open(single);
      const owners = new Map([...reader.entries.keys()].map((name) => [name, reader]));
      return new CheckpointWeights(directory, [reader], owners);
    }
    const files = parseIndex(await readFile(index, "utf8"), index);
    const shards = new Map<string, SafetensorsReader>();
    try {
      for (const file of new Set(files.values()))
        shards.set(file, await SafetensorsReader.open(join(directory, file)));
      const owners = new Map<string, SafetensorsReader>();
      for (const [name, file] of files) {
        const reader = shards.get(file);
        if (!reader?.entries.has(name))
          fail(index, `puts tensor "${name}" into ${file}, which does not hold it`);
        else owners.set(name, reader);
      }
      return new CheckpointWeights(directory, [...shards.values()], owners);
    } catch (error) {
      for (const reader of shards.values()) await reader.close();
      throw error;
    }
  }

  get names(): string[] {
    return [...this.owners.keys()];
  }

  /** Refuses a tensor that `read` could not deliver. @throws DataError ERR_SAFETENSORS. */
  require(name: string, shape: readonly number[]): void {
    this.owner(name).require(name, shape);
  }

  /** Reads a tensor as float32. @throws DataError ERR_SAFETENSORS. */
  async read(name: string, shape: readonly number[], into: Float32Array): Promise<void> {
    await this.owner(name).read(name, shape, into);
  }

  async close(): Promise<void> {
    for (const shard of this.shards) await shard.close();
  }

  private owner(name: string): SafetensorsReader {
    return this.owners.get(name) ?? fail(this.directory, `holds no tensor "${name}"`);
  }
}

function fail(path: string, problem: string): never {
  throw new DataError(
    "ERR_SAFETENSORS",
    `[safetensors] ${path} ${problem}. The checkpoint is incomplete or belongs to another model.`,
  );
}

function parseIndex(text: string, path: string): Map<string, string> {
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch (cause) {
    throw new DataError(
      "ERR_SAFETENSORS",
      `[safetensors] ${path} is not JSON: ${(cause as Error).message}. The checkpoint is incomplete.`,
      { cause },
    );
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null) fail(path, "has no weight_map");
  const files = Object.entries(map);
  // Plain names only: an index must not make us open files elsewhere.
  for (const [name, file] of files)
    if (typeof file !== "string" || !/^[\w.-]+\.safetensors$/.test(file))
      fail(
        path,
        `puts tensor "${name}" into ${JSON.stringify(file)}: expected a .safetensors file beside it`,
      );
  return new Map(files as [string, string][]);
}
