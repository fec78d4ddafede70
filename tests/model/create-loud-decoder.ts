import { EmbeddedDecoder } from "../../lib/model/embedded-decoder.js";
import type { NativeDecoderConfig } from "../../lib/native/native-model.js";
import { CounterRandom } from "../../lib/random/counter-random.js";
import { TINY_CONFIG } from "./tiny-config.js";

/** A decoder whose weights are ten times the usual ones and whose gains are not 1: attention and answers are far from uniform. */
export function createLoudDecoder(change: Partial<NativeDecoderConfig> = {}, seed = 5): EmbeddedDecoder {
  const decoder = EmbeddedDecoder.create({ config: { ...TINY_CONFIG, ...change }, seed });
  const random = new CounterRandom(17n);
  for (const { shape, value } of decoder.parameters())
    for (let i = 0; i < value.length; i++)
      value[i] = shape.length > 1 ? value[i] * 10 : 0.7 + 0.6 * random.next();
  decoder.parametersChanged();
  return decoder;
}
