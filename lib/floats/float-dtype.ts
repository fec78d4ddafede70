/** How numbers of a tensor are stored: 4 bytes, or 2 with 8 or 5 bits of exponent. */
export type FloatDtype = "float32" | "bfloat16" | "float16";
