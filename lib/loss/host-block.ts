import type { NativeBlock } from "../native/native-loss.js";

type OnHost<Block extends NativeBlock> = Block & { logits: Float32Array | Uint16Array };

/** A block where there is no addon, and so no tensor on a device. */
export const hostBlock = <Block extends NativeBlock>(block: Block): OnHost<Block> => block as OnHost<Block>;
