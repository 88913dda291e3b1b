"""Recipe of demo/weights/pose_demo.pt: train the demo's OpenPifPaf model on rendered dancers, then measure it.

    python -m dataset_tools.demo.train_pose --out dataset_tools/demo/weights/pose_demo.pt

About 25 minutes on two CPU cores with the default steps. The dancers come from the renderer of the demo corpus, with
other seeds than any corpus uses. Beside the weights goes a .json with what was measured on held-out frames.
"""

import argparse
import copy
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from dataset_tools.base import cli
from dataset_tools.base.atomic import write_aside, write_text
from dataset_tools.base.workers import progress
from dataset_tools.demo.pose_training.evaluation import evaluate
from dataset_tools.demo.pose_training.loss import CompositeLoss
from dataset_tools.demo.pose_training.samples import Batches, Pool, echoed, render_frame, render_pool
from dataset_tools.vision.pose_net import new_network, save_network

TRAIN_SEED, BATCH_SEED, HELD_OUT_SEED = 71001, 71002, 71003
BATCH = 16
RATE, WEIGHT_DECAY, WARM_UP, CLIP, AVERAGE = 2e-3, 1e-2, 200, 2000.0, 0.998
KEEP_EVERY = 500
DECODER = {"seed": 0.2, "cif": 0.1, "caf": 0.2, "keypoint": 0.08}  # of `set_thresholds`; found by trying


def train(
    pool: Pool, schedule: Callable[[int], float], total: int | None, precision: str, keep: Callable[[nn.Module, int], None]
) -> None:
    """Train until `schedule(step)`, the share of the training that is done, reaches 1.

    keep(averaged network, steps so far) is called every KEEP_EVERY steps and at the end.
    """
    torch.manual_seed(TRAIN_SEED)
    network = new_network().to(memory_format=torch.channels_last).train()
    for head in network.head_nets:  # start out seeing nobody: almost every cell is background
        head.conv.bias.data.view(head.n_fields, head.n_components)[:, 1] = -4.0
    averaged = copy.deepcopy(network)
    loss_of = CompositeLoss(network.head_metas)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in network.parameters() if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in network.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=RATE,
    )
    batches = Batches(pool, network.head_metas, BATCH, BATCH_SEED)
    loader = torch.utils.data.DataLoader(batches, batch_size=None, sampler=range(2**31), num_workers=1, prefetch_factor=4)
    bar = progress(echoed(iter(loader), BATCH_SEED), "train pose", total)
    running = 0.0
    for step, (images, targets) in enumerate(bar):
        done = schedule(step)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            features = network.base_net(images.contiguous(memory_format=torch.channels_last))
        loss = loss_of([head(features.float()) for head in network.head_nets], targets)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _average(averaged, network, min(AVERAGE, (step + 1) / (step + 10)))
        running += (loss.detach().item() - running) * max(0.01, 1 / (step + 1))
        if step % 50 == 0:
            bar.set_postfix_str(f"loss {running:.1f}")
        if (step + 1) % KEEP_EVERY == 0:
            keep(averaged, step + 1)
    keep(averaged, step)


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, keep: float) -> None:
    for mean, value in zip(averaged.parameters(), network.parameters()):
        mean.lerp_(value, 1 - keep)
    for mean, value in zip(averaged.buffers(), network.buffers()):
        mean.copy_(value)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dataset_tools.demo.train_pose",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="weights to write; the measurements go beside it as .json")
    parser.add_argument("--steps", type=int, default=7500, help=f"training steps of {BATCH} crops (default: 7500)")
    parser.add_argument("--minutes", type=float, help="train by the clock instead of by steps")
    parser.add_argument("--frames", type=int, default=10000, help="rendered frames to draw crops from (default: 10000)")
    parser.add_argument("--held-out", type=int, default=400, help="frames to measure on (default: 400)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), default="bf16", help="fp32 for CPUs without bf16"
    )
    args = parser.parse_args(argv)

    torch.set_num_threads(args.threads)
    saved = {}

    def keep(network: nn.Module, steps: int) -> None:
        saved.update(steps=steps, batch=BATCH, frames=args.frames, precision=args.precision, seed=TRAIN_SEED)
        with write_aside(args.out) as aside:
            save_network(network, aside, decoder=DECODER, **saved)

    with tempfile.TemporaryDirectory() as folder:
        pool = render_pool(Path(folder), args.frames, TRAIN_SEED)
        begin = time.monotonic()
        if args.minutes is None:
            train(pool, lambda step: step / args.steps, args.steps, args.precision, keep)
        else:
            train(pool, lambda step: (time.monotonic() - begin) / (60 * args.minutes), None, args.precision, keep)
    frames = (render_frame(HELD_OUT_SEED, i) for i in range(args.held_out))
    measured = evaluate(args.out, progress(frames, "measure pose", args.held_out))
    write_text(args.out.with_suffix(".json"), json.dumps(saved | {"held_out_seed": HELD_OUT_SEED} | measured, indent=2) + "\n")
    cli.say("train_pose", f"{args.out}: PCK@0.1 {measured['pck@0.1']['all']:.1f} % on {args.held_out} held-out frames")
    return 0


if __name__ == "__main__":
    cli.run(main)
