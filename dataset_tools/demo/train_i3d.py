"""Train and measure the demo's narrow two-stream I3D, demo/weights/i3d_demo.pt, on rendered dancers.

    python -m dataset_tools.demo.train_i3d --out dataset_tools/demo/weights/i3d_demo.pt --precision bf16

Each stream learns to classify windows of 2 s by the genre of the music, its energy and the number of dancers. Dancers, songs and
rooms are rendered as for the demo corpus, with seeds that no corpus uses. A .json file beside the weights has the accuracies on
held-out clips and those of guessing the most frequent class. Takes about 8 minutes on two CPU cores. The training is so short
that the flow stream learns well and the RGB stream little.
"""

import json
import math
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import compose
from dataset_tools.demo.render.choreography import choreograph, compute_drive
from dataset_tools.demo.render.lens import Lens
from dataset_tools.demo.render.props import OCCLUDERS
from dataset_tools.demo.render.scene import FRAMINGS, Scene, render
from dataset_tools.i3d.checkpoints import STREAMS, load_i3d, save_i3d
from dataset_tools.i3d.net import I3D
from dataset_tools.i3d.visual_features import WINDOW_FRAMES, resize
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.atomic import check_writable, write_text
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.video.flow import Flow, scale_flow, to_gray

TRAIN_SEED, HELD_OUT_SEED, NET_SEED = 72001, 72002, 72003
WIDTH = 0.125
FRAME_SIZE, FLOW = 64, "dis"  # as in presets/demo.yaml
PANELS = (204, 248, 300, 360)  # widths of clips that are 360 px high, as in the demo corpus
SECONDS = 3  # length of each rendered clip; windows start anywhere in it
BATCH, RATE, WEIGHT_DECAY, WARM_UP = 16, 3e-3, 1e-2, 30
HEADS = {"genre": sorted(GENRES), "energy": ["low", "middle", "high"], "dancers": ["1", "2", "3"]}
ENERGY_STEPS = (0.48, 0.78)
"""Limits between low, middle and high energy, on the scale of `choreography.compute_drive`."""


@dataclass(frozen=True, kw_only=True)
class RenderedClip:
    """A rendered clip on disk: `<stem>.rgb.npy` uint8 (T, H, W, 3) and `<stem>.flow.npy` float16 (T, 2, H, W)."""

    stem: str
    panel: int
    genre: int
    dancers: int
    drive: np.ndarray
    """(T,): intensity of the dance, 0..1."""

    def labels(self, start: int) -> list[int]:
        """Class for each of HEADS of the window that starts at frame `start`."""
        energy = float(self.drive[start : start + WINDOW_FRAMES].mean())
        return [self.genre, sum(energy > step for step in ENERGY_STEPS), self.dancers - 1]

    def window(self, stream: str, start: int) -> np.ndarray:
        """Input of a network, float32 (C, 60, H, W)."""
        frames = np.load(f"{self.stem}.{stream}.npy", mmap_mode="r")[start : start + WINDOW_FRAMES].astype(np.float32)
        return (frames / 127.5 - 1).transpose(3, 0, 1, 2) if stream == "rgb" else frames.transpose(1, 0, 2, 3)


def render_dance(number: int, folder: Path, seed: int) -> RenderedClip:
    """Render clip `number` of a pool. Genre, energy and number of dancers are uniformly distributed."""
    rng = np.random.default_rng([seed, number])
    genre, energy, dancers = (int(rng.integers(len(classes))) for classes in HEADS.values())
    frames = SECONDS * FPS
    for _ in range(50):
        song_seed = int(rng.integers(2**31, 2**32))  # corpora use small seeds
        score = compose(song_seed, HEADS["genre"][genre], seconds=40.0)
        start = float(rng.uniform(0, score.duration - SECONDS))
        drive = np.interp(start + np.arange(frames) / FPS, score.beats, compute_drive(score))
        if sum(drive.mean() > step for step in ENERGY_STEPS) == energy:
            break
    moves = int(rng.integers(2**31))
    angles = [
        choreograph(score, start, start + SECONDS, seed=int(rng.integers(2**31, 2**32)), move_seed=moves)
        for _ in range(dancers + 1)
    ]
    panel = int(rng.choice(PANELS))
    scene = Scene.random(
        rng, panel, 360, dancers + 1,
        framing=str(rng.choice(FRAMINGS, p=[0.85, 0.06, 0.05, 0.04])),
        occluder=str(rng.choice(OCCLUDERS)) if rng.random() < 0.15 else None,
        moving=bool(rng.random() < 0.5),
    )  # fmt: skip
    lens = Lens.random(rng, strong=bool(rng.random() < 0.3))
    images, flows, solver = [], [], Flow(FLOW)
    for t in range(frames):
        image, _ = render(scene, np.stack([a[t] for a in angles]), t / FPS)
        images.append(resize(lens.expose(rng, image), FRAME_SIZE))
        if t:
            flows.append(scale_flow(solver.between(to_gray(images[-2]), to_gray(images[-1]))))
    stem = str(folder / f"{number:05d}")
    np.save(f"{stem}.rgb.npy", np.stack(images))
    np.save(f"{stem}.flow.npy", np.stack([*flows, flows[-1]]).astype(np.float16))
    return RenderedClip(stem=stem, panel=panel, genre=genre, dancers=dancers + 1, drive=drive.astype(np.float32))


def train_stream(stream: str, dances: list[RenderedClip], steps: int, precision: str) -> dict[str, torch.Tensor]:
    """Train one stream for `steps` batches and return its state dict. It uses one thread, so that equal runs give equal weights."""
    torch.set_num_threads(1)
    torch.manual_seed(NET_SEED)
    rng = np.random.default_rng([NET_SEED, STREAMS[stream]])
    net = I3D(STREAMS[stream], WIDTH, sum(map(len, HEADS.values()))).train()
    net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs leave it out
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    bar = progress(batches(stream, dances, rng, steps), f"train {stream}", steps, unit="step")
    running = None
    for step, (windows, labels) in enumerate(bar):
        for group in optimizer.param_groups:
            group["lr"] = (
                RATE * min(1, (step + 1) / WARM_UP) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
            )
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            scores = net(windows.contiguous(memory_format=torch.channels_last_3d)).float()
        losses = [F.cross_entropy(part, target) for part, target in zip(split_heads(scores), labels.T, strict=True)]
        optimizer.zero_grad(set_to_none=True)
        reduce(torch.add, losses).backward()
        optimizer.step()
        now = np.array([float(loss.detach()) for loss in losses])
        running = now if running is None else running + 0.05 * (now - running)
        if step % 10 == 0:
            bar.set_postfix_str(" ".join(f"{head} {value:.2f}" for head, value in zip(HEADS, running, strict=True)))
    return {name: tensor.contiguous() for name, tensor in net.state_dict().items()}


def batches(stream: str, dances: list[RenderedClip], rng: np.random.Generator, steps: int):
    """Yield `steps` pairs (windows (B, C, 60, H, W), labels (B, heads)). The clips of a batch have the same shape."""
    shapes = defaultdict(list)
    for dance in dances:
        shapes[dance.panel].append(dance)
    share = np.array([len(group) for group in shapes.values()]) / len(dances)
    waiting = {panel: [] for panel in shapes}
    for _ in range(steps):
        panel = list(shapes)[rng.choice(len(share), p=share)]
        while len(waiting[panel]) < BATCH:
            waiting[panel] += list(rng.permutation(len(shapes[panel])))
        chosen = [shapes[panel][waiting[panel].pop(0)] for _ in range(BATCH)]
        windows, labels = [], []
        for dance in chosen:
            start = int(rng.integers(0, SECONDS * FPS - WINDOW_FRAMES + 1))
            window = dance.window(stream, start)
            if rng.random() < 0.5:
                window = mirrored(window, stream)
            windows.append(window)
            labels.append(dance.labels(start))
        yield torch.from_numpy(np.stack(windows)), torch.tensor(labels)


def mirrored(window: np.ndarray, stream: str) -> np.ndarray:
    """The window (C, T, H, W), mirrored; horizontal flow also changes its sign."""
    window = window[..., ::-1].copy()
    if stream == "flow":
        window[0] *= -1
    return window


def split_heads(scores: torch.Tensor) -> list[torch.Tensor]:
    """Scores (B, all classes) -> one (B, classes) for each of HEADS."""
    return list(scores.split([len(classes) for classes in HEADS.values()], dim=1))


def evaluate(path: Path, dances: list[RenderedClip]) -> dict[str, dict[str, float]]:
    """Head -> accuracy of rgb, flow and both streams (mean score), and fraction of the most frequent class (chance)."""
    nets = {stream: load_i3d(path, stream) for stream in STREAMS}
    truth = np.array([dance.labels(0) for dance in dances])
    scores = {stream: [] for stream in STREAMS}
    with torch.inference_mode():
        for dance in progress(dances, "measure", unit="dance"):
            for stream, net in nets.items():
                scores[stream].append(net(torch.from_numpy(dance.window(stream, 0))[None])[0])
    stacked = {stream: torch.stack(rows) for stream, rows in scores.items()}
    stacked["both"] = stacked["rgb"] + stacked["flow"]
    result = {}
    for h, head in enumerate(HEADS):
        right = {s: float((split_heads(x)[h].argmax(1).numpy() == truth[:, h]).mean()) for s, x in stacked.items()}
        result[head] = {s: round(share, 3) for s, share in right.items()}
        result[head]["chance"] = round(float(np.bincount(truth[:, h]).max() / len(truth)), 3)
    return result


def main(argv: list[str] | None = None) -> int:
    """Train, write and measure the network."""
    parser = cli.command_parser("dataset_tools.demo.train_i3d", __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="weights to write; the accuracies go beside it as .json"
    )
    parser.add_argument(
        "--steps", type=int, default=280, help=f"batches of {BATCH} windows for each stream (default: 280)"
    )
    parser.add_argument("--clips", type=int, default=560, help="rendered clips to train on (default: 560)")
    parser.add_argument("--held-out", type=int, default=160, help="rendered clips to measure on (default: 160)")
    parser.add_argument("--workers", type=int, default=2, help="processes that render; the streams train in one each")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 is twice as fast on CPUs that have it"
    )
    args = parser.parse_args(argv)
    check_writable(args.out)

    with tempfile.TemporaryDirectory() as folder:
        pools = []
        for name, count, seed in (("train", args.clips, TRAIN_SEED), ("held-out", args.held_out, HELD_OUT_SEED)):
            place = Path(folder) / name
            place.mkdir()
            job = partial(render_dance, folder=place, seed=seed)
            pools.append(run_all(job, list(range(count)), args.workers, f"render {name}", unit="dance"))
        train = partial(train_stream, dances=pools[0], steps=args.steps, precision=args.precision)
        nets = {}
        for stream, state in zip(
            STREAMS, run_all(train, list(STREAMS), min(args.workers, 2), "streams", unit="stream"), strict=True
        ):
            net = I3D(STREAMS[stream], WIDTH, sum(map(len, HEADS.values())))
            net.load_state_dict(state)
            nets[stream] = net
        save_i3d(args.out, nets["rgb"], nets["flow"], HEADS)
        accuracy = evaluate(args.out, pools[1])
    recipe = {"steps": args.steps, "batch": BATCH, "clips": args.clips, "precision": args.precision, "width": WIDTH,
              "frame_size": FRAME_SIZE, "flow": FLOW, "held_out_clips": args.held_out}  # fmt: skip
    write_text(args.out.with_suffix(".json"), json.dumps(recipe | {"accuracy": accuracy}, indent=2) + "\n")
    for head, shares in accuracy.items():
        cli.say("train_i3d", f"{head}: " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items()))
    return 0


if __name__ == "__main__":
    cli.run(main)
