"""The loss beside other implementations on one device, in one process: PyTorch eager, torch.compile, F.cross_entropy, Liger's and quack's kernels where
they are installed, and libecho_grpo_cuda.so through its table of functions, on the same buffers.

All but ours get the easier job: plain cross-entropy on every weighted row, or the GRPO + ECHO mixture in eager PyTorch. Interleaved, medians of events,
useful GB/s = one read and one write of the logits. A device copy of the same bytes is measured in the same rounds.
"""

import argparse
import ctypes
import json
import math
import pathlib
import re
import statistics
import sys

import torch
import torch.nn.functional as F


class EchoLossArgs(ctypes.Structure):
    """native/loss/echo_loss.h."""

    _fields_ = [
        ("logits", ctypes.c_void_p),
        ("logits_type", ctypes.c_int32),
        ("gradient_type", ctypes.c_int32),
        ("rows", ctypes.c_int64),
        ("vocab", ctypes.c_int64),
        ("ld", ctypes.c_int64),
        ("shard", ctypes.c_void_p),
        *[(name, ctypes.c_void_p) for name in (
            "targets", "action_weights", "observation_weights", "advantages", "old_logprobs", "log_ratios", "rollout_weights",
            "reference_logprobs")],
        ("temperature", ctypes.c_float),
        ("logit_softcap", ctypes.c_float),
        ("surrogate", ctypes.c_int32),
        ("epsilon_low", ctypes.c_float),
        ("epsilon_high", ctypes.c_float),
        ("dual_clip", ctypes.c_float),
        ("log_ratio_clamp", ctypes.c_float),
        ("kl_estimator", ctypes.c_int32),
        ("kl_coefficient", ctypes.c_float),
        ("entropy_coefficient", ctypes.c_float),
        ("grad_scale", ctypes.c_float),
        ("entropy", ctypes.c_bool),
        ("nll_at_one", ctypes.c_bool),
        *[(name, ctypes.c_void_p) for name in ("logprobs", "nll_at_one_rows", "entropies", "totals")],
    ]


class CudaCall(ctypes.Structure):
    _fields_ = [("device", ctypes.c_int32), ("stream", ctypes.c_void_p)]


class CudaFailure(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int32), ("code", ctypes.c_int32), ("name", ctypes.c_char * 48), ("message", ctypes.c_char * 208)]


API = (pathlib.Path(__file__).parents[2] / "native/cuda/api.h").read_text()
API_VERSION = int(re.search(r"cuda_api_version = (\d+)", API)[1])
# The functions of the table in their order, after its version and size.
FUNCTIONS = re.findall(r"\(\*(\w+)\)\(", API[API.index("struct CudaApi {"):])
DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


class Library:
    def __init__(self, path):
        library = ctypes.CDLL(path)
        library.echo_grpo_cuda_api.restype = ctypes.c_void_p
        table = library.echo_grpo_cuda_api(API_VERSION)
        if not table:
            sys.exit(f"{path} has no table of version {API_VERSION}")
        pointers = ctypes.cast(table + 8, ctypes.POINTER(ctypes.c_void_p))
        signature = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(CudaCall), ctypes.POINTER(EchoLossArgs), ctypes.POINTER(CudaFailure))
        self.call = signature(pointers[FUNCTIONS.index("echo_loss")])

    def loss(self, logits, rows):
        """Gradient in place of `logits`; `rows`: vectors on the host."""
        logprobs = torch.empty(logits.shape[0])
        totals = (ctypes.c_double * 32)()
        args = EchoLossArgs(
            logits=logits.data_ptr(), logits_type=DTYPES[logits.dtype], gradient_type=DTYPES[logits.dtype], rows=logits.shape[0],
            vocab=logits.shape[1], ld=logits.stride(0), targets=rows["targets32"].data_ptr(), action_weights=rows["action"].data_ptr(),
            observation_weights=rows["observation"].data_ptr(), advantages=rows["advantage"].data_ptr(), old_logprobs=rows["old"].data_ptr(),
            temperature=1, epsilon_low=0.2, epsilon_high=0.2, dual_clip=math.inf, log_ratio_clamp=20, grad_scale=1,
            logprobs=logprobs.data_ptr(), totals=ctypes.addressof(totals))
        failure = CudaFailure()
        call = CudaCall(device=logits.device.index or 0, stream=torch.cuda.current_stream().cuda_stream)
        if self.call(ctypes.byref(call), ctypes.byref(args), ctypes.byref(failure)) != 0:
            sys.exit(f"echo_loss: {failure.name.decode()} {failure.message.decode()}")
        return totals[0] + totals[1]


def mixture(logits, rows):
    """The GRPO + ECHO loss as one writes it in PyTorch."""
    logprobs = torch.log_softmax(logits.float(), -1).gather(-1, rows["targets"][:, None])[:, 0]
    ratio = (logprobs - rows["old_device"]).clamp(-20, 20).exp()
    advantage = rows["advantage_device"]
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    return -(rows["action_device"] * surrogate).sum() - (rows["observation_device"] * logprobs).sum()


def with_autograd(loss):
    def run(logits, rows):
        leaf = logits.detach().requires_grad_(True)
        value = loss(leaf, rows)
        value.backward()
        return value.detach()

    return run


def cross_entropy(logits, rows):
    return F.cross_entropy(logits, rows["labels"], reduction="sum")


def peers(library):
    found, absent = {}, {}
    found["echo-grpo, whole call"] = lambda logits, rows: library.loss(logits, rows)
    found["PyTorch eager, GRPO + ECHO"] = with_autograd(mixture)
    found["PyTorch F.cross_entropy"] = with_autograd(cross_entropy)
    found["torch.compile, GRPO + ECHO"] = with_autograd(torch.compile(mixture, dynamic=False))
    try:
        from liger_kernel.ops.cross_entropy import LigerCrossEntropyFunction
        found["Liger cross-entropy"] = with_autograd(lambda x, rows: LigerCrossEntropyFunction.apply(x, rows["labels"], None, -100, 0.0, 0.0, "sum")[0])
    except Exception as error:
        absent["Liger cross-entropy"] = str(error)
    try:
        from quack.cross_entropy import cross_entropy as quack_cross_entropy
        found["quack cross-entropy"] = with_autograd(lambda x, rows: quack_cross_entropy(x, rows["labels"], ignore_index=-100, reduction="sum"))
    except Exception as error:
        absent["quack cross-entropy"] = str(error)
    return found, absent


def make_rows(count, vocab, masked, device):
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(vocab, (count,), generator=generator)
    weighted = torch.rand(count, generator=generator) >= masked
    acts = torch.rand(count, generator=generator) < 0.5
    action = torch.where(weighted & acts, 1e-3, 0.0)
    observation = torch.where(weighted & ~acts, 1e-3, 0.0)
    advantage = torch.randn(count, generator=generator)
    old = torch.full((count,), -math.log(vocab) - 4.0)
    rows = {"targets32": targets.int(), "action": action, "observation": observation, "advantage": advantage, "old": old}
    rows.update({f"{name}_device": rows[name].to(device) for name in ("action", "observation", "advantage", "old")})
    rows["targets"] = targets.to(device)
    rows["labels"] = torch.where(weighted, targets, -100).to(device)
    return rows


def timed(work):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def measure(name, run, source, work, other, rows, rounds, results, key):
    try:
        times, copies = [], []
        for index in range(-3, rounds):
            work.copy_(source)
            torch.cuda.synchronize()
            pair = {}
            for which in (("ours", "copy") if index % 2 else ("copy", "ours")):
                pair[which] = timed(lambda: run(work, rows)) if which == "ours" else timed(lambda: other.copy_(source))
            if index >= 0:
                times.append(pair["ours"])
                copies.append(pair["copy"])
        del pair
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work.copy_(source)
        run(work, rows)
        torch.cuda.synchronize()
        extra = torch.cuda.max_memory_allocated() - before
    except Exception as error:
        results.append({**key, "kernel": name, "error": str(error).splitlines()[0][:200]})
        torch.cuda.empty_cache()
        return
    moved = 2 * source.numel() * source.element_size()
    ms, copy = statistics.median(times), statistics.median(copies)
    quantiles = statistics.quantiles(times, n=5)
    results.append({**key, "kernel": name, "ms": ms, "p20": quantiles[0], "p80": quantiles[3], "usefulGBps": moved / ms / 1e6,
                    "copyGBps": moved / copy / 1e6, "shareOfCopy": copy / ms, "peakExtraMiB": extra / 2**20})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--elements", type=int, default=2**28)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    device = torch.device("cuda", 0)
    found, absent = peers(Library(options.library))
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        for vocab in (64, 512, 4096, 32000, 50257, 128256, 151936, 262144):
            count = min(65536, options.elements // vocab)
            source = torch.randn(count, vocab, device=device).mul_(3).to(dtype)
            work, other = source.clone(), source.clone()
            for masked in (0.0, 0.5, 0.9):
                rows = make_rows(count, vocab, masked, device)
                key = {"dtype": str(dtype).split(".")[1], "vocab": vocab, "rows": count, "masked": masked}
                for name, run in found.items():
                    # Shares of masked rows matter to ours alone: the others read every row.
                    measure(name, run, source, work, other, rows, options.rounds if masked == 0 else options.rounds // 3, results, key)
                # One number that all that compute the mixture must agree on.
                work.copy_(source)
                ours = float(found["echo-grpo, whole call"](work, rows))
                theirs = float(mixture(source[: max(1, count)], rows))
                results.append({**key, "kernel": "agreement", "echo-grpo": ours, "PyTorch": theirs})
                if abs(ours - theirs) > 1e-3 * (1 + abs(theirs)):
                    sys.exit(f"the losses differ: {ours} and {theirs} at V = {vocab}")
            del source, work, other
            torch.cuda.empty_cache()
            with open(options.out, "w") as out:
                json.dump({"device": torch.cuda.get_device_name(device), "torch": torch.__version__, "cuda": torch.version.cuda,
                           "absent": absent, "measurements": results}, out, indent=1)


if __name__ == "__main__":
    main()
