/**
 * The first key that occurs twice in one object of a JSON text, or undefined. `JSON.parse` keeps the last of them silently, so a
 * file could show one tensor to a checker and another to a loader.
 * @param json a text that `JSON.parse` accepts.
 */
export function findDuplicateKey(json: string): string | undefined {
  // One entry per open bracket: the keys seen so far in an object, null for an array.
  const open: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === "{") {
      open.push(new Set());
      expectsKey = true;
    } else if (character === "[") {
      open.push(null);
      expectsKey = false;
    } else if (character === "}" || character === "]") {
      open.pop();
      expectsKey = false;
    } else if (character === ",") {
      expectsKey = open.at(-1) instanceof Set;
    } else if (character === '"') {
      const begin = i++;
      while (json[i] !== '"') i += json[i] === "\\" ? 2 : 1;
      const keys = open.at(-1);
      if (!expectsKey || !keys) continue;
      // Escapes are resolved first: "a" and "\u0061" are the same key.
      const key = JSON.parse(json.slice(begin, i + 1)) as string;
      if (keys.has(key)) return key;
      keys.add(key);
      expectsKey = false;
    }
  }
  return undefined;
}
