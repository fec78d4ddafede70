import type { NativeHostMemory } from "../native/native-host-memory.js";

/** The addon's memory behind the ArrayBuffers of host tensors: what tells them from buffers that lose their memory when transferred. */
export const hostMemory = new WeakMap<ArrayBufferLike, NativeHostMemory>();
