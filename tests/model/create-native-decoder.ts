import { loadNative } from "../../lib/native/load.js";
import type { NativeDecoder, NativeDecoderConfig } from "../../lib/native/native-model.js";
import { CounterRandom } from "../../lib/random/counter-random.js";

/** A native decoder with weights so large that attention and answers are far from uniform, and gains that are not 1. */
export function createNativeDecoder(config: NativeDecoderConfig): NativeDecoder {
  const decoder = loadNative().createDecoder(config);
  const random = new CounterRandom(11n);
  for (const { shape, value } of decoder.parameters())
    for (let i = 0; i < value.length; i++)
      value[i] =
        shape.length === 1 ? 0.7 + 0.6 * random.next() : (random.next() - 0.5) * (4 / Math.sqrt(shape[1]));
  decoder.parametersChanged();
  return decoder;
}
