/**
 * The printable characters that stand for the 256 bytes in the vocabulary of a byte-level tokenizer (the alphabet of GPT-2): entry b
 * is the character of byte b. Printable Latin-1 bytes stand for themselves, the rest for U+0100 upwards.
 */
export const BYTE_LEVEL_ALPHABET: readonly string[] = (() => {
  const printable = (b: number): boolean =>
    (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : next++));
})();
