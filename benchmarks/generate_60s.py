"""Measures whether generation runs in real time: 60 s of music from a full-size model with random weights, without pose and I3D.

    python -m benchmarks.generate_60s [--preset fixed] [--level high] [--seconds 60] [--threads 2]

Writes benchmarks/results/generate_60s-<preset>-<level>.json. Loading and the first window, a warm-up, are not timed.
"""

import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from d2m_model.generate.generators import Dance, WindowGenerator
from d2m_model.generate.params import Params
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.fusing import fuse_for_inference
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.presets import PRESETS
from d2m_model.training.music_model import MusicModel
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.timebase import FPS, LEVELS

SIZE = (406, 720)


def model_of(preset: str, level: str) -> MusicModel:
    """A full-size model (width 1) with random weights."""
    torch.manual_seed(0)
    vqvae = JukeboxVQVAE().requires_grad_(False)
    vqvae.codebook(LEVELS[level]).k.normal_()
    net = DanceToCodes(PRESETS[preset], level, frames=60, joints=17, codebook=vqvae.codebook(LEVELS[level]).k)
    return MusicModel(fuse_for_inference(net.requires_grad_(False)), vqvae)


def dance(seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """Pose (T, 1, 17, 3) of a swaying dancer, and visual features (W, 2048)."""
    rng, time_ = np.random.default_rng(0), np.arange(seconds * FPS) / FPS
    pose = np.zeros((seconds * FPS, 1, 17, 3), np.float32)
    pose[..., :2] = rng.uniform(100, 400, (17, 2)) + 20 * np.sin(2 * np.pi * 2 * time_)[:, None, None, None]
    pose[..., 2] = 0.9
    return pose, rng.random((seconds - 1, 2048), dtype=np.float32)


def main() -> None:
    parser = command_parser("benchmarks.generate_60s", __doc__)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fixed")
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, (pose, visual), params = model_of(args.preset, args.level), dance(args.seconds), Params(threads=args.threads)
    generator, whole = WindowGenerator(model, args.level), Dance(frames=len(pose), size=SIZE, pose=pose, visual=visual)
    generator.generate(Dance(frames=60, size=SIZE, pose=pose[:60], visual=visual), params)
    begun, used = time.perf_counter(), time.process_time()
    audio = generator.generate(whole, params).audio
    wall, cpu = time.perf_counter() - begun, time.process_time() - used
    assert len(audio) == args.seconds * 22050 and np.isfinite(audio).all()
    begun = time.perf_counter()
    codes = model.codes(torch.from_numpy(pose[:60])[None], SIZE, torch.from_numpy(visual[:1]))
    result = {
        "preset": args.preset, "level": args.level, "seconds_of_music": args.seconds, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2),
        "times_real_time": round(args.seconds / wall, 2), "codes_of_2_s_wall_s": round(time.perf_counter() - begun, 3),
        "codes": codes.shape[1], "threads": args.threads, "cores": os.cpu_count(), "device": platform.machine(),
        "load_average": round(os.getloadavg()[0], 1), "torch": torch.__version__,
    }  # fmt: skip
    write_text(
        Path(__file__).parent / "results" / f"generate_60s-{args.preset}-{args.level}.json",
        json.dumps(result, indent=2) + "\n",
    )
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
