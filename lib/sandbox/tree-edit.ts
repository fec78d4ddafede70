/** A step on the way from one tree of files to another. `path` is a string of its bytes, one character each. */
export type TreeEdit =
  | { kind: "make-directory" | "remove-file" | "remove-directory"; path: string }
  | { kind: "write-file"; path: string; bytes: Uint8Array };
