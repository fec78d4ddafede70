"""How the peers are measured on a device: whole calls by events, in turns with a device copy, and the memory that one call takes."""

import ctypes
import statistics

import torch


class DriverPool:
    """The default memory pool of a device, from which cudaMallocAsync takes: the library's memory, which torch's counters do not see. Asked through
    libcuda; where that does not answer, everything is None."""

    USED_NOW, USED_MOST = 7, 8  # CU_MEMPOOL_ATTR_USED_MEM_CURRENT, _HIGH

    def __init__(self, device):
        self.driver = None
        self.pool = ctypes.c_void_p()
        handle = ctypes.c_int()
        try:
            driver = ctypes.CDLL("libcuda.so.1")
            failed = (driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(handle), ctypes.c_int(device))
                      or driver.cuDeviceGetDefaultMemPool(ctypes.byref(self.pool), handle))
        except (OSError, AttributeError):
            return
        if not failed:
            self.driver = driver

    def _read(self, attribute):
        value = ctypes.c_uint64()
        if self.driver is None or self.driver.cuMemPoolGetAttribute(self.pool, ctypes.c_int(attribute), ctypes.byref(value)) != 0:
            return None
        return value.value

    def begin(self):
        """Bytes in use, from which on the most is counted anew."""
        zero = ctypes.c_uint64(0)
        if self.driver is None or self.driver.cuMemPoolSetAttribute(self.pool, ctypes.c_int(self.USED_MOST), ctypes.byref(zero)) != 0:
            return None
        return self._read(self.USED_NOW)

    def most(self):
        return self._read(self.USED_MOST)


def peak_extra_mib(run, pool):
    """Of one call, above what there was before it: torch's peak and the driver's pool's together. None where the pool's is not known."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before, in_pool = torch.cuda.memory_allocated(), pool.begin()
    run()
    torch.cuda.synchronize()
    most_in_pool = pool.most()
    if in_pool is None or most_in_pool is None:
        return None
    return (torch.cuda.max_memory_allocated() - before + most_in_pool - in_pool) / 2**20


def timed(work):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def measure(run, prepare, copy, rounds, useful_bytes, copied_bytes, pool):
    """What a measurement says of run(). prepare() is called before each round, outside the time; run() and copy() take turns, A B B A."""
    times, copies = [], []
    for index in range(-3, rounds):
        prepare()
        torch.cuda.synchronize()
        pair = {}
        for which in (("run", "copy") if index % 2 else ("copy", "run")):
            pair[which] = timed(run if which == "run" else copy)
        if index >= 0:
            times.append(pair["run"])
            copies.append(pair["copy"])
    prepare()
    extra = peak_extra_mib(run, pool)
    ms, copied = statistics.median(times), statistics.median(copies)
    quantiles = statistics.quantiles(times, n=5, method="inclusive")
    rate, copy_rate = useful_bytes / ms / 1e6, copied_bytes / copied / 1e6
    return {"ms": ms, "p20": quantiles[0], "p80": quantiles[3], "usefulGBps": rate, "copyGBps": copy_rate, "shareOfCopy": rate / copy_rate,
            "peakExtraMiB": extra}


def measure_or_say_why(*arguments):
    """measure(), or the error that stopped it: one implementation may fail without the others."""
    try:
        return measure(*arguments)
    except Exception as error:
        torch.cuda.empty_cache()
        return {"error": (str(error).splitlines() or [type(error).__name__])[0][:200]}


class Disagreement(Exception):
    """Ours and PyTorch's results differ by more than they may."""
