/**
 * `text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced.
 * @throws Error when the markers are missing or there are several.
 */
export function replaceMarked(text: string, name: string, content: string): string {
  const start = `<!-- ${name} -->`;
  const end = `<!-- /${name} -->`;
  const parts = text.split(start);
  const rest = parts.length === 2 ? parts[1].split(end) : [];
  if (rest.length !== 2)
    throw new Error(`[replaceMarked] markers do not fit: expected ${start} and ${end} once each.`);
  return `${parts[0]}${start}\n\n${content.trim()}\n\n${end}${rest[1]}`;
}
