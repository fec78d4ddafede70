"""Writes adamw.json: 100 steps of torch.optim.AdamW with clip_grad_norm_, in float64 and float32.

python tests/golden/make_adamw_golden.py    (torch 2.x, CPU)
"""

import json
import math
import pathlib

import torch

SIZES = [1, 3, 16, 37]
STEPS = 100
OPTIONS = {"lr": 1e-2, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
MAX_GRAD_NORM = 1.0


def initial(i, n):
    return [math.sin(1.7 * j + i) for j in range(n)]


def gradient(step, i, n):
    # Large at first, tiny for some tensors, with sign changes: clipped on some steps, not on others.
    return [math.sin(0.37 * step + 1.3 * j + i) * 10.0 ** (-i) * (1 + 3 * math.cos(0.1 * step)) for j in range(n)]


def run(dtype):
    # The float64 run starts from, and is given, the float32 values too.
    parameters = [torch.nn.Parameter(torch.tensor(initial(i, n), dtype=torch.float32).to(dtype)) for i, n in enumerate(SIZES)]
    decayed = [p for i, p in enumerate(parameters) if i != 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": [parameters[1]], "weight_decay": 0.0}], foreach=False, fused=False, **OPTIONS
    )
    record = {}
    norms = []
    for step in range(1, STEPS + 1):
        for i, p in enumerate(parameters):
            p.grad = torch.tensor(gradient(step, i, p.numel()), dtype=torch.float32).to(dtype)
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM).item())
        optimizer.step()
        if step in (1, 2, 10, 100):
            record[str(step)] = [p.detach().tolist() for p in parameters]
    moments = [
        {"first": optimizer.state[p]["exp_avg"].tolist(), "second": optimizer.state[p]["exp_avg_sq"].tolist()}
        for p in parameters
    ]
    return {"values": record, "norms": norms, "moments": moments}


result = {
    "torch": torch.__version__.split("+")[0],
    "sizes": SIZES,
    "maxGradNorm": MAX_GRAD_NORM,
    "options": {"learningRate": 1e-2, "betas": [0.9, 0.95], "eps": 1e-8, "weightDecay": 0.1},
    "float64": run(torch.float64),
    "float32": run(torch.float32),
}
pathlib.Path(__file__).with_name("adamw.json").write_text(json.dumps(result))
