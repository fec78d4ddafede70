// npm run make:tokenizers: writes assets/<world>/tokenizer.json and tokenizer_config.json from the worlds' lexicons.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LEXICON as MAZE } from "../lib/tasks/maze/lexicon.js";
import { LEXICON as TINYTERM } from "../lib/tasks/tinyterm/lexicon.js";
import { buildTokenizerFiles } from "./build-tokenizer-files.js";

const SPECIALS = ["<|endoftext|>", "<|task|>", "<|action|>", "<|end|>", "<|output|>"];
const assets = join(import.meta.dirname, "..", "assets");
for (const { name, lexicon, vocabSize } of [
  { name: "tinyterm", lexicon: TINYTERM, vocabSize: 512 },
  { name: "maze", lexicon: MAZE, vocabSize: 512 },
]) {
  const { tokenizer, config } = buildTokenizerFiles({ ...lexicon, specials: SPECIALS, vocabSize });
  const directory = join(assets, name);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "tokenizer.json"), `${JSON.stringify(tokenizer, undefined, 1)}\n`);
  writeFileSync(join(directory, "tokenizer_config.json"), `${JSON.stringify(config, undefined, 2)}\n`);
  console.log(`wrote assets/${name}`);
}
