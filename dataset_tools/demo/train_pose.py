"""Train and measure the demo's OpenPifPaf model, demo/weights/pose_demo.pt, on rendered dancers.

    python -m dataset_tools.demo.train_pose --out dataset_tools/demo/weights/pose_demo.pt

About 20 minutes on two idle CPU cores. The dancers come from the demo corpus's renderer, with other seeds than any corpus
uses. Beside the weights goes a .json with what was measured on held-out frames.
`--rounds 2` adds a round that goes on from there at half the learning rate, on frames of its own.
"""

import copy
import json
import math
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dataset_tools.demo.train.pose.evaluation import evaluate
from dataset_tools.demo.train.pose.loss import CompositeLoss
from dataset_tools.demo.train.pose.samples import Batches, Pool, render_frame, render_pool, repeat_relit
from dataset_tools.demo.train.training_frames import dance_frames
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.atomic import atomic_write, check_writable, write_text
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.parallel.orphans import end_loader_worker_with_parent
from dataset_tools.pose.net import load_network, new_network, save_network

FRAMES_SEED, BATCHES_SEED, HELD_OUT_SEED = 71001, 71002, 71003  # round r adds 100 r to the first two
BATCH = 16
RATE, WEIGHT_DECAY, WARM_UP, CLIP, AVERAGE = 2e-3, 1e-2, 200, 2000.0, 0.998
KEEP_EVERY = 500
DECODER = {"seed": 0.3, "cif": 0.1, "caf": 0.1, "keypoint": 0.05, "instance": 0.2}  # of `set_thresholds`; by trying


def train(
    network: Any,
    pool: Pool,
    steps: int,
    *,
    rate: float = RATE,
    seed: int = BATCHES_SEED,
    precision: str = "fp32",
    keep: Callable[[nn.Module, int], None],
) -> None:
    """Train `network` in place. The learning rate falls along a cosine from `rate` to 1 % of it.

    keep(averaged network, steps so far) is called every KEEP_EVERY steps and at the end: the moving average of the
    weights is better than the weights.
    """
    network = network.to(memory_format=torch.channels_last).train()
    averaged = copy.deepcopy(network)
    loss_of = CompositeLoss(network.head_metas)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in network.parameters() if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in network.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=rate,
    )
    batches = Batches(pool, network.head_metas, BATCH, seed)
    loader = torch.utils.data.DataLoader(
        batches, batch_size=None, sampler=range(steps), num_workers=1, prefetch_factor=4,
        worker_init_fn=end_loader_worker_with_parent,
    )  # fmt: skip
    bar = progress(islice(repeat_relit(iter(loader), seed), steps), "train pose", steps, unit="step")
    running = 0.0
    for step, (images, targets) in enumerate(bar):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARM_UP) * (0.01 + 0.99 * cosine)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            features = network.base_net(images.contiguous(memory_format=torch.channels_last))
        loss = loss_of(tuple(head(features.float()) for head in network.head_nets), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _average(averaged, network, min(AVERAGE, (step + 1) / (step + 10)))
        running += (loss.detach().item() - running) * max(0.01, 1 / (step + 1))
        if step % 50 == 0:
            bar.set_postfix_str(f"loss {running:.1f}")
        if (step + 1) % KEEP_EVERY == 0 or step + 1 == steps:
            keep(averaged, step + 1)


def untrained() -> nn.Module:
    """A new network that initially finds nobody, because almost every cell is background."""
    torch.manual_seed(FRAMES_SEED)
    network = new_network()
    for head in network.head_nets:
        head.conv.bias.data.view(head.n_fields, head.n_components)[:, 1] = -4.0
    return network


def measure(weights: Path, frames: int) -> dict:
    """Results of `evaluate` on held-out frames like those of the corpus and like those of the training, which are harder."""
    like_training = (render_frame(HELD_OUT_SEED, i) for i in range(frames))
    return {
        "held_out_seed": HELD_OUT_SEED,
        "corpus": evaluate(
            weights, progress(dance_frames(frames, HELD_OUT_SEED), "measure pose", frames, unit="frame")
        ),
        "training": evaluate(weights, progress(like_training, "measure pose", frames, unit="frame")),
    }


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, keep: float) -> None:
    for mean, value in zip(averaged.parameters(), network.parameters()):
        mean.lerp_(value, 1 - keep)
    for kept, last in zip(averaged.buffers(), network.buffers()):
        kept.copy_(last)


def main(argv: list[str] | None = None) -> int:
    """Train, write and measure the network."""
    parser = cli.command_parser("dataset_tools.demo.train_pose", __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="weights to write; the measurements go beside it as .json"
    )
    parser.add_argument("--steps", type=int, default=6000, help=f"steps of {BATCH} crops in each round (default: 6000)")
    parser.add_argument("--frames", type=int, default=6000, help="rendered frames of each round (default: 6000)")
    parser.add_argument("--rounds", type=int, default=1, help="default: 1")
    parser.add_argument("--from-round", type=int, default=1, help="go on from --out with this round (default: 1, anew)")
    parser.add_argument("--held-out", type=int, default=400, help="frames to measure on (default: 400)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="fp32 for CPUs without bf16")
    args = parser.parse_args(argv)
    check_writable(args.out)

    torch.set_num_threads(args.threads)
    about = {"frames": args.frames, "batch": BATCH, "precision": args.precision, "seed": FRAMES_SEED}
    for number in range(args.from_round - 1, args.rounds):

        def keep(averaged: nn.Module, steps: int, number: int = number) -> None:
            about.update(rounds=number + 1, steps_of_last_round=steps)
            with atomic_write(args.out) as temporary:
                save_network(averaged, temporary, decoder=DECODER, **about)

        network = load_network(args.out)[0] if number else untrained()
        with tempfile.TemporaryDirectory() as folder:
            pool = render_pool(Path(folder), args.frames, FRAMES_SEED + 100 * number)
            rate, seed = RATE / 2**number, BATCHES_SEED + 100 * number
            train(network, pool, args.steps, rate=rate, seed=seed, precision=args.precision, keep=keep)

    measured = measure(args.out, args.held_out)
    write_text(args.out.with_suffix(".json"), json.dumps(load_network(args.out)[1] | measured, indent=2) + "\n")
    found = ", ".join(f"{name} {measured[name]['pck@0.1']['all']:.1f} %" for name in ("corpus", "training"))
    cli.say("train_pose", f"{args.out}: PCK@0.1 on {args.held_out} held-out frames like the {found}")
    return 0


if __name__ == "__main__":
    cli.run(main)
