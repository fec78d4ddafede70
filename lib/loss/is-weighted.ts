/** Whether row t is learned at all. Of other rows nothing but the weights is read. */
export function isWeighted(
  rows: { actionWeights: ArrayLike<number>; observationWeights: ArrayLike<number> },
  t: number,
): boolean {
  return rows.actionWeights[t] !== 0 || rows.observationWeights[t] !== 0;
}
