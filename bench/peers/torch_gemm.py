"""Matrix products in PyTorch: torch.mm, which is MKL's sgemm in its x64 builds, and oneDNN's."""

import torch


def make(request):
    m, n, k, layout = request["m"], request["n"], request["k"], request["layout"]
    generator = torch.Generator().manual_seed(1)

    def matrix(*shape):
        return torch.rand(*shape, generator=generator) - 0.5

    a = matrix(k, m).t() if layout == "TN" else matrix(m, k)
    b = matrix(n, k).t() if layout == "NT, packed weights" else matrix(k, n)
    if request["library"] == "oneDNN":
        weights = b.t()

        def call():
            return torch.ops.mkldnn._linear_pointwise(a, weights, None, "none", [], "")
    else:
        out = torch.empty(m, n)

        def call():
            return torch.mm(a, b, out=out)

    with torch.no_grad():
        error = (call().double() - a.double() @ b.double()).abs().max().item()
    return call, {"error": error}
