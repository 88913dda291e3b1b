"""What a second of video costs at the size of presets/tiktok.yaml, for the plan in docs/scale.md: python -m benchmarks.unit_costs

Processor time of one core, which other work on the machine changes little: decoding and encoding 720 x 1280, optical flow at a short side
of 256 px, the audio, a window of both I3D networks at full width with random weights, of which the operations are counted too, and hashing.
The film is a moving pattern with noise, which is harder to encode than most dances. --out gets the result as JSON (default
benchmarks/results/unit_costs.json).
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.growth import processor
from dataset_tools.audio.stage import to_corpus_audio
from dataset_tools.i3d.net import I3D
from dataset_tools.i3d.visual_features import resize
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.video.clip_reader import read_clip
from dataset_tools.lib.video.flow import Flow
from dataset_tools.lib.video.video_io import write_clip

WIDTH, HEIGHT, SHORT, CROP = 720, 1280, 256, 224
SECONDS, RATE = 2, 44100


def film() -> list[np.ndarray]:
    """(H, W, 3) uint8 pictures of `SECONDS`: smooth noise that moves, under noise of a camera."""
    rng = np.random.default_rng(0)
    large = cv2.GaussianBlur(rng.integers(0, 255, (HEIGHT + 200, WIDTH + 200, 3), np.uint8), (0, 0), 9)
    large = cv2.normalize(large, None, 0, 255, cv2.NORM_MINMAX)
    grain = rng.integers(0, 6, (HEIGHT, WIDTH, 3), np.uint8)
    return [np.ascontiguousarray(large[2 * n :][:HEIGHT, 3 * n :][:, :WIDTH] // 2 + np.roll(grain, n, 0)) for n in range(SECONDS * FPS)]  # fmt: skip


def cost(work: Callable[[], object]) -> float:
    """Processor seconds of a call, in all threads."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def flow_cost(method: str, frames: list[np.ndarray]) -> float:
    """Processor seconds of the flow between neighbouring frames, for each second of video."""
    solver = Flow(method)
    grays = [solver.prepare(frame) for frame in frames]
    return cost(lambda: [solver.between(a, b) for a, b in zip(grays, grays[1:])]) / (len(frames) - 1) * FPS


def measure() -> dict:
    """Costs by name; processor seconds for each second of video, unless the name says otherwise."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pictures = film()
    small = [resize(picture, SHORT) for picture in pictures[:10]]
    sound = np.random.default_rng(1).integers(-9000, 9000, (2, SECONDS * RATE)).astype(np.int16)
    found: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        frames = [av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p") for picture in pictures]
        found["encode a clip"] = cost(lambda: write_clip(path, frames, sound, RATE)) / SECONDS
        found["decode a clip to RGB"] = cost(lambda: list(read_clip(path, SECONDS * FPS))) / SECONDS
        big = Path(folder) / "big"
        big.write_bytes(os.urandom(1 << 27))
        found["hash a GB"] = cost(lambda: file_sha256(big)) / (1 << 27) * 1e9
    found |= {f"flow {method}": flow_cost(method, small[: 10 if method == "dis" else 4]) for method in ("dis", "tvl1")}
    found["audio"] = cost(lambda: to_corpus_audio(sound, RATE, SECONDS * SAMPLE_RATE)) / SECONDS
    for channels, name in ((3, "rgb"), (2, "flow")):
        net, window = I3D(channels).eval(), torch.zeros(1, channels, 2 * FPS, CROP, CROP)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            found[f"i3d {name}, a window each second"] = cost(partial(net.features, window))
        found[f"i3d {name}, operations of a window / 1e9"] = counter.get_total_flops() / 1e9
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def main() -> None:
    """Measure and write the result."""
    parser = command_parser("benchmarks.unit_costs", __doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/unit_costs.json"))
    args = parser.parse_args()
    found = {"processor": processor(), "cores": os.cpu_count(), **measure()}
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
