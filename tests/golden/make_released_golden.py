"""Writes released.json: loss and gradient as the released ECHO computes them, step by step, in PyTorch float64.

    python tests/golden/make_released_golden.py        (torch 2.13, CPU)

"Released" is microsoft/echo-rl (world_modeling/loss.py and fsdp_worker.py) on SkyRL. make_loss_golden.py writes down the formula; this file writes
down the procedure, with the layout and the order in which that trainer works:

    sequences left-padded to one width, everything about the response right-aligned in a window [B, R], log-probabilities the last R rows but one
    advantages = (r - mean) / (std + 1e-6) of the group, broadcast over the window
    sequence_mean: advantages / (N max(|A_i|, 1)), N counted over all ranks; then sums.  token_mean: advantages / (all action tokens)
    policy loss of a micro-batch = sum of -min(r A, clip(r) A) over the loss mask, times the number of ranks
    observation loss of a micro-batch = coefficient * sum(ce * mask / (count + 1e-3)), count broadcast over the window, times 1 / (sequences of
        the rank); nothing at all with a coefficient of 0; a zero that hangs on the graph without a selected token
    token_mean: coefficient * sum(ce * mask) / (selected tokens of the rank + 1e-3)
    gradients add over the micro-batches of a rank and are averaged over the ranks

It computes in float32 (and bfloat16); here everything is float64, from float32 inputs.
"""

import json
import pathlib

import torch

VOCAB = 13
# c template and padding, a action, o command output, w warning. The prompt is the leading run of c, the response what follows.
ROLES = [
    "cccaaacwwooooocaacooc",
    "ccaacooocaaaacwwwc",
    "cccaaaaaac",       # no observations
    "cca",              # one action, nothing else: with the one above a micro-batch without a selected token
    "ccccooooowwoo",    # no actions
    "ccc" + "c",        # a rollout that failed: its response is an end token with every mask 0, and it counts in N
    "cwaaacwwcac",      # only warnings
    "ccaoaaoooaooooooo",
]
GROUPS = [[0, 1, 2, 3], [4, 5, 6, 7]]
LETTER = {"env_only": "o", "warning_only": "w", "warning_plus_env": "ow"}
generator = torch.Generator().manual_seed(20260523)


def float32(x):
    return x.to(torch.float32).to(torch.float64)


def make_batch(rewards):
    advantages = torch.zeros(len(ROLES), dtype=torch.float64)
    for group in GROUPS:
        r = torch.tensor([rewards[i] for i in group], dtype=torch.float64)
        advantages[group] = (r - r.mean()) / (r.std(unbiased=True) + 1e-6)
    batch = []
    for i, roles in enumerate(ROLES):
        ids = torch.randint(0, VOCAB, (len(roles),), generator=generator)
        logits = float32(2.5 * torch.randn(len(roles), VOCAB, generator=generator, dtype=torch.float64))
        noise = 0.2 * torch.randn(len(roles), generator=generator, dtype=torch.float64)
        batch.append({"ids": ids, "roles": roles, "reward": rewards[i], "advantage": advantages[i].item(), "logits": logits, "noise": noise})
    return batch


def prompt_length(roles):
    return len(roles) - len(roles.lstrip("c")) if roles.strip("c") else len(roles) - 1


class Padded:
    """The batch as tensors: [B, S] tokens, left-padded, and [B, R] windows over the responses."""

    def __init__(self, batch, logits):
        width = max(len(s["roles"]) for s in batch)
        self.window = max(len(s["roles"]) - prompt_length(s["roles"]) for s in batch)
        size = len(batch)
        self.ids = torch.zeros(size, width, dtype=torch.long)
        self.advantages = torch.tensor([s["advantage"] for s in batch], dtype=torch.float64)[:, None].expand(size, self.window)
        self.masks = {r: torch.zeros(size, self.window, dtype=torch.float64) for r in "aow"}
        rows = []
        for i, (s, x) in enumerate(zip(batch, logits)):
            length = len(s["roles"])
            self.ids[i, width - length:] = s["ids"]
            rows.append(torch.cat([torch.ones(width - length, VOCAB, dtype=torch.float64), x]))
            for t in range(prompt_length(s["roles"]), length):
                if s["roles"][t] in "aow":
                    self.masks[s["roles"][t]][i, self.window - length + t] = 1
        self.logits = torch.stack(rows)

    def log_probs(self, rows, temperature):
        scores = torch.log_softmax(self.logits[rows] / temperature, -1)
        following = torch.roll(self.ids[rows], shifts=-1, dims=1)
        every = scores.gather(-1, following[..., None])[..., 0]
        return every[:, -self.window - 1:-1]

    def selected(self, mode, most):
        """The observation tokens that are learned; with `most` the first so many of each answer."""
        mask = sum(self.masks[letter] for letter in LETTER[mode])
        if most is None:
            return mask
        answer = (self.masks["o"] + self.masks["w"]) > 0
        kept = mask.clone()
        for i in range(mask.shape[0]):
            count = 0
            for t in range(mask.shape[1]):
                count = count + int(mask[i, t]) if answer[i, t] else 0
                if count > most:
                    kept[i, t] = 0
        return kept


def clipped(log_probs, old, advantages, mask, c):
    ratio = torch.exp((log_probs - old).clamp(-20, 20))
    surrogate = torch.min(ratio * advantages, ratio.clamp(1 - c["eps_clip_low"], 1 + c["eps_clip_high"]) * advantages)
    return (-surrogate * mask).sum()


def observed(log_probs, mask, count, rank_selected, c):
    if c["world_model_coeff"] <= 0:
        return None
    if mask.sum() <= 0:
        return log_probs.sum() * 0
    ce = -log_probs
    if c["loss_reduction"] == "sequence_mean":
        full = c["world_loss_normalization"] == "full_observation_tokens"
        denominator = (count if full else mask.sum(-1, keepdim=True)).expand_as(mask) + 1e-3
        return c["world_model_coeff"] * (ce * mask / denominator).sum()
    return c["world_model_coeff"] * (ce * mask).sum() / (rank_selected + 1e-3)


def step(batch, logits, c):
    size = len(batch)
    padded = Padded(batch, logits)
    loss_mask = padded.masks["a"] * (0 if c["world_model_only"] else 1)
    world_mask = padded.selected(c["world_loss_target"], c["max_world_model_tokens"])
    count = (padded.masks["o"] + padded.masks["w"]).sum(-1, keepdim=True)
    if c["loss_reduction"] == "sequence_mean":
        advantages = padded.advantages / (size * loss_mask.sum(-1, keepdim=True).clamp(min=1))
    else:
        advantages = padded.advantages / loss_mask.sum().clamp(min=1)
    old = torch.zeros(size, padded.window, dtype=torch.float64)
    for i, s in enumerate(batch):
        length = len(s["roles"])
        for t in range(prompt_length(s["roles"]), length):
            old[i, padded.window - length + t] = s["old"][t]
    policy = torch.zeros((), dtype=torch.float64)
    observation = torch.zeros((), dtype=torch.float64)
    shard = size // c["ranks"]
    for rank in range(c["ranks"]):
        mine = slice(rank * shard, (rank + 1) * shard)
        rank_selected = world_mask[mine].sum()
        for first in range(mine.start, mine.stop, c["micro_batch"]):
            rows = slice(first, first + c["micro_batch"])
            log_probs = padded.log_probs(rows, c["temperature"])
            before = log_probs.detach() if c["recompute"] else old[rows]
            summed = clipped(log_probs, before, advantages[rows], loss_mask[rows], c) * c["ranks"]  # undoes the average over ranks
            policy = policy + summed / c["ranks"]
            world = observed(log_probs, world_mask[rows], count[rows], rank_selected, c)
            if world is not None:
                weight = 1 / shard if c["loss_reduction"] == "sequence_mean" else 1
                observation = observation + world * weight / c["ranks"]
    return policy, observation


RELEASED = {
    "loss_reduction": "sequence_mean", "world_loss_normalization": "full_observation_tokens", "world_loss_target": "env_only",
    "world_model_coeff": 0.05, "max_world_model_tokens": None, "world_model_only": False, "temperature": 0.8, "eps_clip_low": 0.2,
    "eps_clip_high": 0.2, "recompute": True, "ranks": 2, "micro_batch": 2,
}
# name, batch, what differs from the released configuration
CASES = [
    ("as released", "mixed", {}),
    ("as released, GRPO", "mixed", {"world_model_coeff": 0.0}),
    ("as released, one rank and one micro-batch", "mixed", {"ranks": 1, "micro_batch": 8}),
    ("selected tokens", "mixed", {"world_loss_normalization": "selected_tokens"}),
    ("warnings", "mixed", {"world_loss_target": "warning_only"}),
    ("warnings and output", "mixed", {"world_loss_target": "warning_plus_env"}),
    ("warnings and output, selected tokens", "mixed", {"world_loss_target": "warning_plus_env", "world_loss_normalization": "selected_tokens"}),
    ("two tokens of each answer", "mixed", {"max_world_model_tokens": 2}),
    ("two tokens of each answer, selected tokens", "mixed", {"max_world_model_tokens": 2, "world_loss_normalization": "selected_tokens"}),
    ("an older policy", "mixed", {"recompute": False}),
    ("temperature 1", "mixed", {"temperature": 1.0}),
    ("token mean on one rank", "mixed", {"loss_reduction": "token_mean", "ranks": 1}),
    ("without a verifier", "mixed", {"world_model_only": True}),
    ("groups that all failed", "all-fail", {}),
]


def ours(c):
    """The same in options of stepWeights and echoLoss."""
    token = c["loss_reduction"] == "token_mean"
    options = {
        "lambda": c["world_model_coeff"], "aggregation": "token" if token else "sequence", "maxLength": None, "observationEpsilon": 1e-3,
        "observationDenominator": "token" if token else {"full_observation_tokens": "all", "selected_tokens": "selected"}[c["world_loss_normalization"]],
        "observationTargets": {"env_only": "observations", "warning_only": "warnings", "warning_plus_env": "all"}[c["world_loss_target"]],
        "envOnly": c["world_model_only"], "onPolicy": c["recompute"], "objective": "policy", "temperature": c["temperature"],
        "epsilonLow": c["eps_clip_low"], "epsilonHigh": c["eps_clip_high"],
    }
    if c["max_world_model_tokens"] is not None:
        options["maxObservationTokens"] = c["max_world_model_tokens"]
    return options


batches = {"mixed": make_batch([1, 0, 0, 1, 0, 0, 1, 1]), "all-fail": make_batch([0] * len(ROLES))}
for batch in batches.values():
    for s in batch:
        scores = torch.log_softmax(s["logits"] / RELEASED["temperature"], -1)
        s["old"] = torch.zeros(len(s["roles"]), dtype=torch.float64)
        for t in range(1, len(s["roles"])):
            s["old"][t] = float32(scores[t - 1, s["ids"][t]] + s["noise"][t])

out = {"vocabSize": VOCAB, "batches": {}, "cases": []}
for name, batch in batches.items():
    out["batches"][name] = [
        {"ids": s["ids"].tolist(), "roles": s["roles"], "reward": s["reward"], "advantage": s["advantage"],
         "oldLogprobs": s["old"].tolist(), "logits": s["logits"].flatten().tolist()} for s in batch]
for name, batch_name, changes in CASES:
    c = {**RELEASED, **changes}
    batch = batches[batch_name]
    logits = [s["logits"].clone().requires_grad_() for s in batch]
    policy, observation = step(batch, logits, c)
    loss = policy + observation
    loss.backward()
    gradient = torch.cat([x.grad.flatten() for x in logits])
    out["cases"].append({"name": name, "batch": batch_name, "released": c, "options": ours(c), "policyLoss": policy.item(),
                         "observationLoss": observation.item(), "loss": loss.item(), "gradient": [float(f"{g:.15g}") for g in gradient.tolist()]})
    print(f"{name:45s} {policy.item():+.12f} {observation.item():+.12f} |g| {gradient.norm().item():.6e}")

path = pathlib.Path(__file__).with_name("released.json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(path.stat().st_size, "bytes")
