"""AdamW and gradient clipping in PyTorch, on one parameter."""

import torch


def make(request):
    parameter = torch.nn.Parameter(torch.ones(request["parameters"]))
    parameter.grad = torch.full_like(parameter, 0.1)
    do = request["step"]
    flags = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}[request.get("form", "default")]
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01, **flags)

    def step():
        optimizer.step()

    def norm():
        return torch.nn.utils.get_total_norm([parameter.grad])

    def clip():
        return torch.nn.utils.clip_grad_norm_([parameter], 1.0)

    def clip_and_step():
        clip()
        optimizer.step()

    call = {"step": step, "norm": norm, "clip": clip, "clip and step": clip_and_step}[do]
    result = call()
    return call, {"value": parameter[-1].item(), "norm": None if result is None else result.item()}
