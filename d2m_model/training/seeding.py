"""Equal seeds, equal bytes: one place that sets seeds, threads, deterministic algorithms and the device."""

import hashlib
import os
import random

import numpy as np
import torch


def stream_seed(*key: int | str) -> int:
    """A 63-bit seed from a mix of numbers and words, such as (seed, "batch", step); equal keys give equal seeds.

    Randomness addressed by key rather than drawn from one running stream needs no saved state: step 500 draws the
    same numbers whether the 499 before it ran in this process or another.
    """
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:8], "big") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A CPU random generator seeded by `stream_seed(*key)`."""
    return torch.Generator().manual_seed(stream_seed(*key))


def seed_everything(seed: int, threads: int = 0) -> torch.device:
    """Seed Python, numpy and torch, ask for deterministic algorithms, and choose the device (CUDA if there is one).

    seed: any non-negative integer.
    threads: CPU threads of torch; 0 leaves torch's own choice. The order of a sum depends on it, so results are
        reproducible to the byte for one thread count on one machine.
    On CUDA, operations without a deterministic form warn instead of failing.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is only deterministic with this set
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:  # the same without the import of torch's compiler, which takes 3 s
        torch.set_deterministic_debug_mode("error")
    return device
