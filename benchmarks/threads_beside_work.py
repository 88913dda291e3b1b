"""Measures how fast a training runs beside other work: with one thread, and with two that sleep or spin while they wait.

    python -m benchmarks.threads_beside_work [--seconds 20] [--windows 2] [--out benchmarks/results/threads_beside_work.json]

The training is our step of `benchmarks.train_step` (preset `released`, level high). Beside it run no process, two endless loops of
lowest priority, or four of its own priority. OMP_WAIT_POLICY decides how threads wait at the end of each parallel loop.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from dataset_tools.lib.core.cli import command_parser

LOADS = {"alone": (0, 0), "beside 2 loops of lowest priority": (2, 19), "beside 4 loops of like priority": (4, 0)}
THREADS = {"1 thread": (1, "PASSIVE"), "2 threads that sleep": (2, "PASSIVE"), "2 threads that spin": (2, "ACTIVE")}
RESULT = Path(__file__).parent / "results" / "threads_beside_work.json"


def train(threads: int, windows: int, seconds: float) -> float:
    """Windows of training a second, in this process."""
    import torch

    from benchmarks.train_step import build_steps
    from d2m_model.nets.cpu.memory import keep_freed_memory

    torch.set_num_threads(threads)
    step = build_steps("high", windows, torch.device("cpu"))[1]
    keep_freed_memory()
    step(1)
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        done += 1
        step(1 + done)
    return windows * done / (time.perf_counter() - begun)


def beside(load: tuple[int, int], threads: tuple[int, str], options: list[str]) -> float:
    """`train` in a process of its own, beside endless loops."""
    loops, nice = load
    with ExitStack() as stack:
        for _ in range(loops):
            command = ["nice", "-n", str(nice), sys.executable, "-c", "while True: pass"]
            stack.callback(subprocess.Popen(command).kill)
        command = [sys.executable, "-m", "benchmarks.threads_beside_work", "--train", str(threads[0]), *options]
        done = subprocess.run(
            command, env=os.environ | {"OMP_WAIT_POLICY": threads[1]}, check=True, capture_output=True, text=True
        )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = command_parser("benchmarks.threads_beside_work", __doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--windows", type=int, default=2, help="of a training batch")
    parser.add_argument("--train", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.train:
        print(train(args.train, args.windows, args.seconds))
        return
    options = ["--seconds", str(args.seconds), "--windows", str(args.windows)]
    result: dict = {
        load: {name: round(beside(LOADS[load], threads, options), 3) for name, threads in THREADS.items()}
        for load in LOADS
    }
    result = {"windows_a_second": result, "cores": os.cpu_count(), "device": platform.machine()}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
