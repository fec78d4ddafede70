export type { NativeDecoderConfig as DecoderConfig } from "../native/native-model.js";
export { EmbeddedDecoder } from "./embedded-decoder.js";
export type { Parameter } from "./parameter.js";
export { SafetensorsReader } from "./safetensors-reader.js";
export type { TrainableModel } from "./trainable-model.js";
export { writeSafetensors } from "./write-safetensors.js";
