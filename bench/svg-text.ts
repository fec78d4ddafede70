/** A text element; `words` may hold any character. */
export function svgText(x: number, y: number, words: string, attributes = ""): string {
  const escaped = words.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  return `<text x="${round(x)}" y="${round(y)}"${attributes && ` ${attributes}`}>${escaped}</text>`;
}

function round(value: number): number {
  return Number(value.toFixed(1));
}
