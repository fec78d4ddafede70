import type { PeerCase } from "./measure-beside.js";
import type { OpenPeer } from "./peers/open-peer.js";

/** One operation in PyTorch, named as the one of ours that does the same job. */
export type OptimizerPeerCase = PeerCase & {
  beside: string;
  /** Relative error of a norm, once it has run. */
  normError?: number;
};

const FORMS = [
  ["default", "torch.optim.AdamW"],
  ["foreach", "torch.optim.AdamW, foreach"],
  ["fused", "torch.optim.AdamW, fused"],
] as const;
/** Relative. */
const TOLERANCE = 1e-5;
/** PyTorch adds squares up in float32, which loses a percent over as many. */
const NORM_TOLERANCE = 0.05;

/**
 * The optimiser in PyTorch on `parameters` ones with gradients of 0.1.
 *
 * @param first what the first step of ours made of the ones.
 */
export function optimizerPeers({ peer }: OpenPeer, parameters: number, first: number): OptimizerPeerCase[] {
  const norm = 0.1 * Math.sqrt(parameters);
  const one = (beside: string, name: string, request: Record<string, unknown>): OptimizerPeerCase => {
    const made: OptimizerPeerCase = {
      beside,
      name,
      peer,
      request: { what: "adamw", parameters, ...request },
    };
    made.check = (computed) => {
      const [got, expected] = computed.norm === null ? [computed.value, first] : [computed.norm, norm];
      const error = Math.abs(Number(got) - expected) / expected;
      if (computed.norm !== null) made.normError = error;
      if (!(error <= (computed.norm === null ? TOLERANCE : NORM_TOLERANCE)))
        throw new Error(`it computes something else (expected ${expected}, got ${String(got)})`);
    };
    return made;
  };
  return [
    ...FORMS.map(([form, name]) => one("AdamW", name, { step: "step", form })),
    one("gradient norm", "torch.nn.utils.get_total_norm", { step: "norm" }),
    one("gradient norm", "torch.nn.utils.clip_grad_norm_ (also scales the gradient)", { step: "clip" }),
    one("gradient norm, then AdamW with its factor", "clip_grad_norm_, then AdamW, fused", {
      step: "clip and step",
      form: "fused",
    }),
  ];
}
