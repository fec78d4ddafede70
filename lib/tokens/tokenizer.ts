import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { DataError } from "../errors/data-error.js";
import { BYTE_LEVEL_ALPHABET } from "./byte-level-alphabet.js";

/** Texts up to this many characters are remembered with their ids, this many at most. */
const LONGEST_REMEMBERED = 256;
const MOST_REMEMBERED = 8192;

interface AddedToken {
  id: number;
  content: string;
}

interface TokenizerJson {
  added_tokens: AddedToken[];
  model: { type?: string; vocab: Record<string, number>; merges: (string | [string, string])[] };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function fail(problem: string, options?: ErrorOptions): never {
  throw new DataError("ERR_TOKENIZER", `[Tokenizer] ${problem}`, options);
}

/** Lone surrogates, which UTF-8 cannot spell, become U+FFFD. */
const wellFormed = (text: string): string =>
  text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");

function checked(json: unknown): TokenizerJson {
  if (!isRecord(json) || !isRecord(json.model) || !isRecord(json.model.vocab))
    return fail(
      "tokenizer.json has no model.vocab: expected a fast tokenizer file. Save it with transformers' save_pretrained.",
    );
  if (json.model.type !== undefined && json.model.type !== "BPE")
    return fail(
      `tokenizer.json has a ${String(json.model.type)} model: expected BPE. Use a byte-level tokenizer.`,
    );
  if (!Array.isArray(json.model.merges))
    return fail("tokenizer.json has no model.merges: expected a list of pairs.");
  const added = json.added_tokens ?? [];
  if (
    !Array.isArray(added) ||
    !added.every((t) => isRecord(t) && typeof t.content === "string" && Number.isInteger(t.id))
  )
    return fail("tokenizer.json has malformed added_tokens: expected objects with id and content.");
  return { ...json, added_tokens: added, model: json.model } as unknown as TokenizerJson;
}

/**
 * A byte-level BPE tokenizer read from a Hugging Face `tokenizer.json`. Text never becomes a special token: it is encoded by an
 * instance that knows none, so a terminal that prints `<|end|>` yields ordinary ids. Special tokens are asked for by name.
 */
export class Tokenizer {
  /** Largest id + 1. */
  readonly vocabSize: number;
  private readonly text: HuggingFaceTokenizer;
  private readonly specials = new Map<string, number>();
  private readonly specialIds = new Set<number>();
  private readonly ordinary: ReadonlyMap<string, number>;
  private readonly bytes: (Uint8Array | undefined)[] = [];
  /** A terminal says the same short things over and over. */
  private readonly encoded = new Map<string, readonly number[]>();

  /**
   * @param tokenizerJson parsed `tokenizer.json`: a BPE model over the byte-level alphabet.
   * @param tokenizerConfig parsed `tokenizer_config.json`.
   * @throws DataError ERR_TOKENIZER when it is not a byte-level BPE tokenizer.
   */
  constructor(tokenizerJson: unknown, tokenizerConfig: unknown = {}) {
    const json = checked(tokenizerJson);
    const contents = new Set(json.added_tokens.map((token) => token.content));
    // Some files list special tokens in the vocabulary too; text must not reach them that way either.
    const vocab = Object.fromEntries(
      Object.entries(json.model.vocab).filter(([token]) => !contents.has(token)),
    );
    this.ordinary = new Map(Object.entries(vocab));
    try {
      this.text = new HuggingFaceTokenizer(
        { ...json, added_tokens: [], model: { ...json.model, vocab } },
        isRecord(tokenizerConfig) ? { ...tokenizerConfig, additional_special_tokens: [] } : {},
      );
    } catch (cause) {
      fail(
        `tokenizer.json was refused: ${String(cause)}. Expected a tokenizer of transformers' fast format.`,
        { cause },
      );
    }

    const byteOf = new Map(BYTE_LEVEL_ALPHABET.map((character, byte) => [character, byte]));
    for (const [token, id] of this.ordinary) {
      const values = Array.from(token, (character) => byteOf.get(character));
      const bytes = values.filter((value) => value !== undefined);
      if (bytes.length !== values.length)
        fail(
          `token ${JSON.stringify(token)} is not written in the byte-level alphabet: expected a byte-level BPE vocabulary.`,
        );
      this.bytes[id] = Uint8Array.from(bytes);
    }
    for (const character of BYTE_LEVEL_ALPHABET)
      if (!this.ordinary.has(character))
        fail(
          `the vocabulary lacks byte ${byteOf.get(character)}: expected all 256, so that any text can be encoded.`,
        );
    // The library drops what it cannot spell without a word.
    for (const merge of json.model.merges) {
      const [left, right] = typeof merge === "string" ? merge.split(" ", 2) : merge;
      if (!this.ordinary.has(left + right))
        fail(`merging ${left} and ${right} leads out of the vocabulary: expected ${left}${right} in it.`);
    }
    for (const { id, content } of json.added_tokens) {
      this.specials.set(content, id);
      this.specialIds.add(id);
      this.bytes[id] = new TextEncoder().encode(content);
    }
    this.vocabSize = this.bytes.length;
  }

  /**
   * Reads `tokenizer.json` and, where present, `tokenizer_config.json`.
   * @throws DataError ERR_TOKENIZER when a file is missing or not what it should be.
   */
  static fromDirectory(directory: string): Tokenizer {
    const read = (file: string): unknown => {
      const path = join(directory, file);
      try {
        return JSON.parse(readFileSync(path, "utf8"));
      } catch (cause) {
        if (file === "tokenizer_config.json" && (cause as NodeJS.ErrnoException).code === "ENOENT") return {};
        return fail(`cannot read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
          cause,
        });
      }
    };
    return new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
  }

  /** Ids of a text; never those of a special token, whatever the text spells. Lone surrogates become U+FFFD, as in UTF-8. */
  encodeText(text: string): number[] {
    if (text === "") return [];
    const known = this.encoded.get(text);
    if (known) return known.slice();
    const { ids } = this.text.encode(wellFormed(text), { add_special_tokens: false });
    if (text.length <= LONGEST_REMEMBERED) {
      if (this.encoded.size >= MOST_REMEMBERED) this.encoded.clear();
      this.encoded.set(text, ids.slice());
    }
    return ids;
  }

  /**
   * Id of a special token, for example `<|end|>`.
   * @throws DataError ERR_TOKENIZER when the tokenizer has none of that name.
   */
  encodeSpecial(name: string): number {
    return (
      this.specials.get(name) ??
      fail(
        `there is no special token ${name}: expected one of ${[...this.specials.keys()].join(" ") || "(none)"}.`,
      )
    );
  }

  isSpecial(id: number): boolean {
    return this.specialIds.has(id);
  }

  /** Id of the ordinary token that spells exactly this text, or undefined. */
  idOf(text: string): number | undefined {
    let token = "";
    for (const byte of new TextEncoder().encode(text)) token += BYTE_LEVEL_ALPHABET[byte];
    return this.ordinary.get(token);
  }

  /**
   * The bytes the ids spell; special tokens spell their names.
   * @throws DataError ERR_TOKENIZER on an id outside the vocabulary.
   */
  decodeBytes(ids: readonly number[]): Uint8Array {
    const parts = ids.map(
      (id) =>
        this.bytes[id] ??
        fail(`there is no token ${id}: expected an id of the vocabulary, below ${this.vocabSize}.`),
    );
    const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) {
      result.set(part, offset);
      offset += part.length;
    }
    return result;
  }

  /** The text the ids spell. Bytes that are not UTF-8 become U+FFFD; `decodeBytes` keeps them. */
  decode(ids: readonly number[]): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.decodeBytes(ids));
  }
}
