"""Writes loss.json: loss and gradient of the objective in PyTorch float64, one formula per sequence, no row weights.

    python tests/golden/make_loss_golden.py        (torch 2.13, CPU)

Each case is the formula of docs/objective.md written down for one sequence at a time:

    L = 1/N sum_i [ 1/|A_i| sum_{t in A_i} -min(rho_t Adv_i, clip(rho_t) Adv_i)  +  lambda/|O_i| sum_{t in O'_i} -log p(x_t | x_<t) ]

All inputs are float32 values, so a float32 kernel sees exactly the same numbers.
"""

import json
import pathlib

import torch

VOCAB = 11
# c context, a action, o observation, w warning; the first token of a sequence has no row that predicts it.
ROLES = [
    "ccaaacooooaacwwoocaac",
    "cccaacwwwcaaaacoooooc",
    "caaaaaac",        # no observations
    "ccccooooowwoo",   # no actions
    "cac",
    "ccccc",           # neither
    "cwaaacwwc",       # only warnings: |O_i| > 0, O'_i empty
    "ccaoaoaoaoaaoo",  # turns of one token, ends on an observation
]
generator = torch.Generator().manual_seed(20260518)


def float32(x):
    return x.to(torch.float32).to(torch.float64)


def make_batch(rewards, groups):
    batch = []
    for roles, reward in zip(ROLES, rewards):
        length = len(roles)
        batch.append({
            "ids": torch.randint(0, VOCAB, (length,), generator=generator),
            "roles": roles,
            "reward": reward,
            "logits": float32(3 * torch.randn(length, VOCAB, generator=generator, dtype=torch.float64)),
            "noise": 0.15 * torch.randn(length, generator=generator, dtype=torch.float64),
        })
    for group in groups:
        r = torch.tensor([batch[i]["reward"] for i in group], dtype=torch.float64)
        flat = len(group) < 2 or bool((r == r[0]).all())
        adv = torch.zeros_like(r) if flat else (r - r.mean()) / (r.std(unbiased=True) + 1e-6)
        for i, a in zip(group, adv):
            batch[i]["advantage"] = float(a)
    return batch


def scored(logits, ids, temperature):
    """log p of every token but the first."""
    logp = torch.log_softmax(logits / temperature, dim=-1)
    return [None] + [logp[t - 1, ids[t]] for t in range(1, len(ids))]


def objective(batch, logits, c):
    n = len(batch)
    positions = [{r: [t for t, x in enumerate(s["roles"]) if x == r and t > 0] for r in "aow"} for s in batch]
    all_actions = sum(len(p["a"]) for p in positions)
    all_observations = sum(len(p["o"]) for p in positions)
    policy = torch.zeros((), dtype=torch.float64)
    environment = torch.zeros((), dtype=torch.float64)
    for s, x, p in zip(batch, logits, positions):
        logp = scored(x, s["ids"], c["temperature"])
        surrogate = []
        for t in p["a"]:
            if c["objective"] == "imitation":
                surrogate.append(-logp[t])
                continue
            old = logp[t].detach() if c["onPolicy"] else s["old"][t]
            ratio = torch.exp(logp[t] - old)
            low, high = 1 - c["epsilonLow"], 1 + c["epsilonHigh"]
            surrogate.append(-torch.min(ratio * s["advantage"], ratio.clamp(low, high) * s["advantage"]))
        if surrogate and not c["envOnly"]:
            total = torch.stack(surrogate).sum()
            if c["aggregation"] == "sequence":
                policy = policy + total / len(p["a"]) / n
            elif c["aggregation"] == "token":
                policy = policy + total / all_actions
            else:
                policy = policy + total / c["maxLength"] / n
        if p["o"]:
            nll = torch.stack([-logp[t] for t in p["o"]]).sum()
            eps = c["observationEpsilon"]
            if c["observationDenominator"] == "all":
                environment = environment + c["lambda"] * nll / (len(p["o"]) + len(p["w"]) + eps) / n
            elif c["observationDenominator"] == "selected":
                environment = environment + c["lambda"] * nll / (len(p["o"]) + eps) / n
            else:
                environment = environment + c["lambda"] * nll / (all_observations + eps)
    return policy, environment


DEFAULT = {
    "lambda": 0.05, "aggregation": "sequence", "maxLength": None, "observationDenominator": "all",
    "observationEpsilon": 0.0, "envOnly": False, "onPolicy": False, "objective": "policy",
    "temperature": 1.0, "epsilonLow": 0.2, "epsilonHigh": 0.2,
}
CASES = [
    ("grpo", "mixed", {"lambda": 0.0}),
    ("grpo on-policy", "mixed", {"lambda": 0.0, "onPolicy": True}),
    ("echo", "mixed", {}),
    ("echo on-policy", "mixed", {"onPolicy": True}),
    ("echo, released epsilon", "mixed", {"observationEpsilon": 1e-3}),
    ("echo, temperature 0.8", "mixed", {"temperature": 0.8}),
    ("echo, selected denominator", "mixed", {"observationDenominator": "selected", "observationEpsilon": 1e-3}),
    ("echo, token denominator", "mixed", {"observationDenominator": "token"}),
    ("token aggregation", "mixed", {"aggregation": "token"}),
    ("constant aggregation", "mixed", {"aggregation": "constant", "maxLength": 24}),
    ("asymmetric clip", "mixed", {"epsilonLow": 0.1, "epsilonHigh": 0.28}),
    ("env-only", "mixed", {"envOnly": True}),
    ("imitation", "mixed", {"objective": "imitation", "lambda": 0.0}),
    ("imitation with observations", "mixed", {"objective": "imitation", "lambda": 0.3}),
    ("grpo, all-fail group", "all-fail", {"lambda": 0.0}),
    ("echo, all-fail group", "all-fail", {}),
    ("echo, clip edges", "edges", {}),
    ("echo, clip edges, temperature 0.8", "edges at 0.8", {"temperature": 0.8}),
]

batches = {
    "mixed": make_batch([1, 0, 0, 1, 1, 0, 0, 0], [[0, 1, 2, 3], [4, 5, 6, 7]]),
    "all-fail": make_batch([0] * 8, [[0, 1, 2, 3], [4, 5, 6, 7]]),
    "edges": make_batch([1, 0, 0, 0, 1, 0, 1, 1], [[0, 1, 2, 3], [4, 5, 6, 7]]),
    "edges at 0.8": make_batch([1, 0, 0, 0, 1, 0, 1, 1], [[0, 1, 2, 3], [4, 5, 6, 7]]),
}
for name, batch in batches.items():
    # Ratios just inside and just outside each edge, for both signs of the advantage; far outside; and 1.
    edges = [0.799, 0.801, 1.199, 1.201, 1.0, 0.3, 4.0]
    k = 0
    for s in batch:
        logp = scored(s["logits"], s["ids"], 0.8 if name.endswith("0.8") else 1.0)
        s["old"] = torch.zeros(len(s["roles"]), dtype=torch.float64)
        for t in range(1, len(s["roles"])):
            shift = s["noise"][t]
            if name.startswith("edges") and s["roles"][t] == "a":
                shift = -torch.log(torch.tensor(edges[k % len(edges)], dtype=torch.float64))
                k += 1
            s["old"][t] = float32(logp[t] + shift)

out = {"vocabSize": VOCAB, "batches": {}, "cases": []}
for name, batch in batches.items():
    out["batches"][name] = [
        {"ids": s["ids"].tolist(), "roles": s["roles"], "reward": s["reward"], "advantage": s["advantage"],
         "oldLogprobs": s["old"].tolist(), "logits": s["logits"].flatten().tolist()} for s in batch]
for name, batch_name, changes in CASES:
    c = {**DEFAULT, **changes}
    batch = batches[batch_name]
    logits = [s["logits"].clone().requires_grad_() for s in batch]
    policy, environment = objective(batch, logits, c)
    loss = policy + environment
    if loss.requires_grad:
        loss.backward()
    gradient = torch.cat([(x.grad if x.grad is not None else torch.zeros_like(x)).flatten() for x in logits])
    out["cases"].append({"name": name, "batch": batch_name, "options": c, "policyLoss": policy.item(),
                         "observationLoss": environment.item(), "loss": loss.item(), "gradient": gradient.tolist()})
    print(f"{name:40s} {policy.item():+.12f} {environment.item():+.12f} |g| {gradient.norm().item():.6e}")

path = pathlib.Path(__file__).with_name("loss.json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(path.stat().st_size, "bytes")
