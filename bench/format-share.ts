/** A share as whole percent, with a digit after the point below one; nothing of nothing. */
export function formatShare(share: number | undefined): string {
  if (share === undefined) return "";
  return `${(share * 100).toFixed(share > 0 && share < 0.01 ? 1 : 0)} %`;
}
