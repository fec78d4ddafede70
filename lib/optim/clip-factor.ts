/** min(1, maxGradNorm / (gradNorm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 0 when the norm is not finite. */
export function clipFactor(gradNorm: number, maxGradNorm: number): number {
  return Number.isFinite(gradNorm) ? Math.min(1, maxGradNorm / (gradNorm + 1e-6)) : 0;
}
