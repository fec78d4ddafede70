"""Numbers of torch.optim.AdamW and clip_grad_norm_:

adamw.json           100 steps in float64 and float32
adamw-bfloat16.json  100 steps of a float32 master that is rounded to bfloat16 after each, from float32 and from bfloat16 gradients
adamw-steps.json     single steps far apart, from given moments: bias correction

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


def optimizer_of(parameters, options):
    decayed = [p for i, p in enumerate(parameters) if i != 1]
    return torch.optim.AdamW(
        [{"params": decayed}, {"params": [parameters[1]], "weight_decay": 0.0}], foreach=False, fused=False, **options
    )


def run(dtype):
    # The float64 run starts from, and is given, the float32 values too.
    parameters = [torch.nn.Parameter(torch.tensor(initial(i, n), dtype=torch.float32).to(dtype)) for i, n in enumerate(SIZES)]
    optimizer = optimizer_of(parameters, OPTIONS)
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


def run_bfloat16(grad_dtype):
    masters = [torch.nn.Parameter(torch.tensor(initial(i, n)).bfloat16().float()) for i, n in enumerate(SIZES)]
    optimizer = optimizer_of(masters, OPTIONS)
    record = {}
    norms = []
    for step in range(1, STEPS + 1):
        for i, p in enumerate(masters):
            p.grad = torch.tensor(gradient(step, i, p.numel()), dtype=torch.float32).to(grad_dtype).float()
        norms.append(torch.nn.utils.clip_grad_norm_(masters, MAX_GRAD_NORM).item())
        optimizer.step()
        if step in (1, 2, 10, 100):
            bits = [(p.detach().to(torch.bfloat16).view(torch.int16).int() & 0xFFFF).tolist() for p in masters]
            record[str(step)] = {"masters": [p.detach().tolist() for p in masters], "values": bits}
    return {"norms": norms, "steps": record}


def single_step(step, beta2):
    # As many elements as make every tier use its vectors and its tail; the float64 step is given the float32 numbers.
    generator = torch.Generator().manual_seed(step)
    value, grad, first = (torch.randn(19, generator=generator) for _ in range(3))
    second = torch.rand(19, generator=generator)
    options = {"lr": 1e-2, "betas": (0.9, beta2), "eps": 1e-8, "weight_decay": 0.1}
    case = {"step": step, "options": {"learningRate": 1e-2, "betas": [0.9, beta2], "eps": 1e-8, "weightDecay": 0.1}}
    if step == 1:
        first, second = torch.zeros(19), torch.zeros(19)
    for name, tensor in (("value", value), ("grad", grad), ("first", first), ("second", second)):
        case[name] = tensor.tolist()
    for dtype in (torch.float32, torch.float64):
        # Copies: the optimiser writes in place.
        p = torch.nn.Parameter(value.to(dtype, copy=True))
        p.grad = grad.to(dtype, copy=True)
        optimizer = torch.optim.AdamW([p], foreach=False, fused=False, **options)
        optimizer.state[p] = {
            "step": torch.tensor(float(step - 1)),
            "exp_avg": first.to(dtype, copy=True),
            "exp_avg_sq": second.to(dtype, copy=True),
        }
        optimizer.step()
        case[str(dtype).removeprefix("torch.")] = p.detach().tolist()
    return case


def write(name, result):
    pathlib.Path(__file__).with_name(name).write_text(json.dumps({"torch": torch.__version__.split("+")[0], **result}))


options = {"learningRate": 1e-2, "betas": [0.9, 0.95], "eps": 1e-8, "weightDecay": 0.1}
result = {
    "sizes": SIZES,
    "maxGradNorm": MAX_GRAD_NORM,
    "options": options,
    "float64": run(torch.float64),
    "float32": run(torch.float32),
}
write("adamw.json", result)
runs = {"float32": run_bfloat16(torch.float32), "bfloat16": run_bfloat16(torch.bfloat16)}
write("adamw-bfloat16.json", {"sizes": SIZES, "maxGradNorm": MAX_GRAD_NORM, "options": options, **runs})
cases = [single_step(step, beta2) for beta2 in (0.95, 0.999, 0.999999) for step in (1, 2, 1000, 1_000_000)]
write("adamw-steps.json", {"cases": cases})
