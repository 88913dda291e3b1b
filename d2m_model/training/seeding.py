"""Seeds, threads, deterministic algorithms and the device, all set here: equal seeds give equal bytes."""

import hashlib
import os
import random

import numpy as np
import torch


def stream_seed(*key: int | str) -> int:
    """A 63-bit seed from numbers and words, such as (seed, "batch", step); equal keys give equal seeds.

    Seeding by key needs no saved state: step 500 draws the same numbers whether the 499 steps before ran in this process or in
    another one.
    """
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:8], "big") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A CPU random generator seeded by `stream_seed(*key)`."""
    return torch.Generator().manual_seed(stream_seed(*key))


def seed_everything(seed: int, threads: int = 0) -> torch.device:
    """Seed Python, numpy and torch, switch to deterministic algorithms, and return the device: CUDA if available, else the CPU.

    seed: any non-negative integer.
    threads: CPU threads of torch; 0 keeps torch's default. The order of sums depends on it, so results are reproducible to the
        byte for one number of threads on one machine.
    On CUDA, operations without a deterministic form warn instead of failing.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be deterministic
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:  # the same, without importing torch's compiler, which takes 3 s
        torch.set_deterministic_debug_mode("error")
    return device
