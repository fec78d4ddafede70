"""Writes objective.json: loss and gradient of every option of the objective, in float64.

    python tests/golden/make_objective_golden.py        (torch 2.13, CPU; the cases "trl ..." need trl 1.13, of which only the file
                                                         grpo_trainer.py is read, so that none of its dependencies is needed)

The cases "formula ..." are docs/objective.md written down in PyTorch for one sequence at a time and differentiated by autograd. The cases "trl ..."
call GRPOTrainer._compute_loss itself, on logits instead of a model. All inputs are float32 values, so a float32 kernel sees the same numbers.
"""

import ast
import collections
import importlib.util
import json
import pathlib
import types

import torch

B, L, V = 4, 9, 11
generator = torch.Generator().manual_seed(20261120)


def float32(x):
    return x.to(torch.float32).to(torch.float64)


def normal(*shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


MASK = torch.tensor([[1, 1, 0, 1, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 1, 1, 1, 0]])
TARGETS = torch.randint(0, V, (B, L), generator=generator)
LOGITS = float32(2.5 * normal(B, L, V))
ADVANTAGES = float32(torch.tensor([1.25, -0.75, -1.5, 0.5], dtype=torch.float64))
NOISE = {name: scale * normal(B, L) for name, scale in (("old", 0.3), ("sampler", 0.25), ("reference", 0.5))}


def chosen(logits):
    return torch.log_softmax(logits, -1).gather(-1, TARGETS[..., None])[..., 0]


def capped(logits, c):
    return logits if not c else c * torch.tanh(logits / c)


def inputs(options):
    """Log-probabilities near those of the logits under the case's options, so that every clip acts on some rows."""
    now = chosen(capped(LOGITS, options.get("logitSoftcap")) / options.get("temperature", 1))
    old = float32(now + NOISE["old"])
    return {"old": old, "sampler": float32(old + NOISE["sampler"]), "reference": float32(now + NOISE["reference"])}


def weights(aggregation):
    mask = MASK.double()
    if aggregation == "token":
        return mask / mask.sum()
    if aggregation == "constant":
        return mask / (B * L)
    return mask / (B * mask.sum(-1, keepdim=True))


def formula(options, aggregation="sequence"):
    o = {"temperature": 1.0, "epsilonLow": 0.2, "epsilonHigh": 0.2, "klEstimator": "k3", **options}
    given = inputs(options)
    logits = LOGITS.clone().requires_grad_()
    z = capped(logits, o.get("logitSoftcap")) / o["temperature"]
    logp = torch.log_softmax(z, -1)
    entropy = -(logp.exp() * logp).sum(-1)
    loss = torch.zeros((), dtype=torch.float64)
    w = weights(aggregation)
    for i in range(B):
        acts = [t for t in range(L) if MASK[i, t]]
        lp = {t: logp[i, t, TARGETS[i, t]] for t in acts}
        mean = sum(lp[t] - given["old"][i, t] for t in acts) / len(acts)
        behind = sum(given["old"][i, t] - given["sampler"][i, t] for t in acts)
        for t in acts:
            log_ratio = mean if o.get("ratioLevel") == "sequence" else lp[t] - given["old"][i, t]
            limit = o.get("logRatioClamp", 20)
            ratio = torch.exp(log_ratio.clamp(-limit, limit))
            bounded = ratio.clamp(1 - o["epsilonLow"], 1 + o["epsilonHigh"])
            a = ADVANTAGES[i]
            if o.get("surrogate") == "cispo":
                surrogate = bounded.detach() * a * lp[t]
            else:
                surrogate = torch.min(ratio * a, bounded * a)
                if o.get("dualClip") and a < 0:
                    surrogate = torch.max(surrogate, o["dualClip"] * a)
            if "rolloutCorrection" in o:
                c = o["rolloutCorrection"]
                f = torch.exp(behind if c["level"] == "sequence" else given["old"][i, t] - given["sampler"][i, t])
                f = f.clamp(max=c["cap"]) if c["mode"] == "truncate" else f * float(c.get("floor", 0) <= f <= c["cap"])
                surrogate = surrogate * f
            term = -surrogate
            if o.get("klCoefficient"):
                d = lp[t] - given["reference"][i, t]
                kl = {"k1": d, "k2": d * d / 2, "k3": torch.exp(-d) - 1 + d}[o["klEstimator"]]
                term = term + o["klCoefficient"] * kl
            term = term - o.get("entropyCoefficient", 0) * entropy[i, t]
            loss = loss + w[i, t] * term
    loss.backward()
    return loss, logits.grad, given, w


def trl_compute_loss():
    spec = importlib.util.find_spec("trl")
    path = pathlib.Path(spec.submodule_search_locations[0]) / "trainer" / "grpo_trainer.py"
    trainer = next(n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef) and n.name == "GRPOTrainer")
    function = next(n for n in trainer.body if isinstance(n, ast.FunctionDef) and n.name == "_compute_loss")
    scope = {"torch": torch, "nanmin": lambda x: x[~x.isnan()].min(), "nanmax": lambda x: x[~x.isnan()].max()}
    exec(compile(ast.Module([function], []), str(path), "exec"), scope)
    return scope["_compute_loss"]


def trl(options, *, loss_type, level="token", beta=0.0, entropy=0.0, correction=False, epsilons=(0.2, 0.2), aggregation="sequence"):
    given = inputs(options)
    logits = LOGITS.clone().requires_grad_()

    def logps(*_, **__):
        logp = torch.log_softmax(logits, -1)
        return logp.gather(-1, TARGETS[..., None])[..., 0], (-(logp.exp() * logp).sum(-1)).detach() if not entropy else -(logp.exp() * logp).sum(-1), None

    accelerator = types.SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x, sync_gradients=True)
    args = types.SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1)
    this = types.SimpleNamespace(
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level=level, beta=beta,
        args=args, loss_type=loss_type, epsilon_low=epsilons[0], epsilon_high=epsilons[1], use_vllm=correction,
        vllm_importance_sampling_correction=correction, model=types.SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1, accelerator=accelerator, max_completion_length=L, _entropy_bonus_enabled=entropy != 0,
        use_adaptive_entropy=False, entropy_coef=entropy, _metrics=collections.defaultdict(lambda: collections.defaultdict(list)),
        _get_per_token_logps_and_entropies=logps)
    batch = {
        "prompt_ids": torch.zeros(B, 1, dtype=torch.long), "prompt_mask": torch.ones(B, 1, dtype=torch.long),
        "completion_ids": TARGETS, "completion_mask": MASK, "advantages": ADVANTAGES, "old_per_token_logps": given["old"],
        "ref_per_token_logps": given["reference"], "num_items_in_batch": MASK.sum(),
        "importance_sampling_ratio": torch.exp(given["old"] - given["sampler"]).clamp(max=1.2)}
    loss = trl_compute_loss()(this, None, batch)
    loss.backward()
    return loss, logits.grad, given, weights(aggregation)


TIS = {"level": "token", "mode": "truncate", "cap": 1.2}
FORMULA = [
    ("plain", {}), ("asymmetric clip, temperature 0.8", {"epsilonLow": 0.1, "epsilonHigh": 0.28, "temperature": 0.8}),
    ("log-ratio clamp", {"logRatioClamp": 0.1}), ("dual clip", {"dualClip": 1.1, "epsilonHigh": 5}),
    ("cispo, both bounds", {"surrogate": "cispo"}), ("cispo, temperature 1.5", {"surrogate": "cispo", "epsilonLow": 1, "temperature": 1.5}),
    ("gspo", {"ratioLevel": "sequence", "epsilonLow": 0.05, "epsilonHigh": 0.05}),
    ("k1", {"klCoefficient": 0.1, "klEstimator": "k1"}), ("k2, temperature 0.7", {"klCoefficient": 0.2, "klEstimator": "k2", "temperature": 0.7}),
    ("k3", {"klCoefficient": 0.3}), ("entropy bonus", {"entropyCoefficient": 0.05}),
    ("entropy bonus, temperature 0.6", {"entropyCoefficient": 0.2, "temperature": 0.6}),
    ("rollout correction, token, truncate", {"rolloutCorrection": TIS}),
    ("rollout correction, token, mask", {"rolloutCorrection": {"level": "token", "mode": "mask", "cap": 1.2, "floor": 0.9}}),
    ("rollout correction, sequence, truncate", {"rolloutCorrection": {"level": "sequence", "mode": "truncate", "cap": 1.1}}),
    ("rollout correction, sequence, mask", {"rolloutCorrection": {"level": "sequence", "mode": "mask", "cap": 1.5}}),
    ("softcap", {"logitSoftcap": 3}),
    ("all at once", {"logitSoftcap": 4, "temperature": 0.9, "entropyCoefficient": 0.03, "klCoefficient": 0.1, "klEstimator": "k2", "dualClip": 2,
                     "rolloutCorrection": {"level": "sequence", "mode": "truncate", "cap": 1.2}, "ratioLevel": "sequence", "epsilonLow": 0.1, "epsilonHigh": 0.1}),
]
TRL = [
    ("grpo", {}, {"loss_type": "grpo"}), ("bnpo", {}, {"loss_type": "bnpo", "aggregation": "token"}),
    ("dr_grpo", {}, {"loss_type": "dr_grpo", "aggregation": "constant"}), ("dapo", {"epsilonHigh": 0.28}, {"loss_type": "dapo", "aggregation": "token", "epsilons": (0.2, 0.28)}),
    ("cispo", {"surrogate": "cispo", "epsilonLow": 1, "epsilonHigh": 0.15}, {"loss_type": "cispo", "aggregation": "token", "epsilons": (0.2, 1.15)}),
    ("gspo", {"ratioLevel": "sequence", "epsilonLow": 0.05, "epsilonHigh": 0.05}, {"loss_type": "grpo", "level": "sequence", "epsilons": (0.05, 0.05)}),
    ("grpo, beta", {"klCoefficient": 0.04}, {"loss_type": "grpo", "beta": 0.04}),
    ("dapo, entropy bonus", {"entropyCoefficient": 0.02}, {"loss_type": "dapo", "aggregation": "token", "entropy": 0.02}),
    ("grpo, importance sampling correction, beta", {"rolloutCorrection": TIS, "klCoefficient": 0.04}, {"loss_type": "grpo", "correction": True, "beta": 0.04}),
]


def numbers(x):
    return [float(f"{v:.14g}") for v in x.detach().flatten().tolist()]


def case(name, options, result):
    loss, gradient, given, w = result
    return {"name": name, "options": options, "actionWeights": numbers(w), "loss": float(loss.detach()), "gradient": numbers(gradient),
            **{f"{key}Logprobs": numbers(value) for key, value in given.items()}}


out = {
    "vocabSize": V, "sequences": B, "length": L, "targets": TARGETS.flatten().tolist(), "logits": numbers(LOGITS),
    "advantages": numbers(ADVANTAGES[:, None].expand(B, L)),
    "cases": [case(f"formula: {n}", o, formula(o)) for n, o in FORMULA] + [case(f"trl: {n}", o, trl(o, **k)) for n, o, k in TRL],
}
path = pathlib.Path(__file__).parent / "objective.json"
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(path, path.stat().st_size)
