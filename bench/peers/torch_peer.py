"""PyTorch's side of the benchmarks: answers one JSON request a line on standard input with one line on standard output.

    {"id": 1, "do": "hello", "threads": 2}                                -> versions, threads, CPU capability
    {"id": 2, "do": "prepare", "case": "a", "what": "loss", ...}          -> what the case computes, to be checked; it has run once
    {"id": 3, "do": "measure", "case": "a", "minSamples": 3, "maxTimeS": 0.2, "minSampleS": 0.05} -> samplesMs, cpuMs
    {"id": 4, "do": "peak", "case": "a"}                                  -> bytes: memory of one call above what was there before it; null off Linux
    {"id": 5, "do": "drop", "case": "a"}

A request that fails is answered with {"id", "error"}. The end of standard input ends the process.
"""

import gc
import json
import os
import sys
import time

# Libraries print what they like; only answers may reach the asker.
ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import torch  # noqa: E402

import torch_decoder  # noqa: E402
import torch_gemm  # noqa: E402
import torch_loss  # noqa: E402
import torch_optimizer  # noqa: E402

# Each takes a request and returns (call, what it computes).
MAKERS = {
    "loss": torch_loss.make,
    "gemm": torch_gemm.make,
    "adamw": torch_optimizer.make,
    "training": torch_decoder.make_training,
    "sampling": torch_decoder.make_sampling,
}

# The heap is not warm after the one call that a case has made when it is prepared; one that takes long needs no more.
WARM_UP_S = 1

cases = {}


def hello(request):
    torch.set_num_threads(request["threads"])
    return {
        "name": f"PyTorch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def prepare(request):
    call, computed = MAKERS[request["what"]](request)
    began = time.perf_counter()
    for _ in range(3):
        call()
        if time.perf_counter() - began > WARM_UP_S:
            break
    cases[request["case"]] = call
    return computed


def measure(request):
    call = cases[request["case"]]
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    # As the library that times our side does: a sample is the mean over calls that follow each other.
    calls = max(1, round(request["minSampleS"] / max(once, 1e-9)))
    samples, cpu = [], float("inf")
    began = time.perf_counter()
    while len(samples) < request["minSamples"] or time.perf_counter() - began < request["maxTimeS"]:
        start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        cpu = min(cpu, (time.process_time() - cpu_start) / calls * 1e3)
        samples.append((time.perf_counter() - start) / calls * 1e3)
    return {"samplesMs": samples, "cpuMs": cpu}


def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def peak(request):
    call = cases[request["case"]]
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")  # the highest resident size starts anew
        before = memory("VmRSS")
        call()
        return {"bytes": max(0, memory("VmHWM") - before)}
    except (OSError, StopIteration):
        return {"bytes": None}


def drop(request):
    cases.pop(request["case"], None)
    gc.collect()
    return {}


REQUESTS = {"hello": hello, "prepare": prepare, "measure": measure, "peak": peak, "drop": drop}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = REQUESTS[request["do"]](request)
    except Exception as error:  # whatever it is, the asker must hear of it
        answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
    ANSWERS.write(json.dumps({"id": request["id"], **answer}) + "\n")
    ANSWERS.flush()
