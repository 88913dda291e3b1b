"""Processor time of the codec per second of music: with products of rows (`nets/cpu/row_convolution.py`) and with torch's convolutions.

    python -m benchmarks.codec_speed [--weights MODEL.pt] [--seconds 4] [--repeats 5] [--threads 1]

Without --weights the network has the demo's sizes and random weights; the time does not depend on them. Prints the least processor
time of `--repeats` runs of each, in turns, in milliseconds, and the difference between the two results.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch

from d2m_model.nets.cpu.switch import plain_torch
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.training.vqvae_files import load_vqvae
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.timebase import LEVELS, SAMPLE_RATE

DEMO = VqVaeConfig(width=32, depth=4, multipliers=(1, 1, 1), bins=256)


def processor_ms(function: Callable[[], torch.Tensor]) -> float:
    begun = time.process_time()
    function()
    return 1000 * (time.process_time() - begun)


@torch.inference_mode()
def main() -> None:
    parser = command_parser("benchmarks.codec_speed", __doc__)
    parser.add_argument("--weights", type=Path, help="a model.pt of the stage vqvae or synthesizer")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    model = load_vqvae(args.weights) if args.weights else JukeboxVQVAE(DEMO)
    audio = 0.1 * torch.randn(1, round(args.seconds * SAMPLE_RATE))
    for name, level in LEVELS.items():
        codes, times, decoded = model.encode(audio, level), {}, {}
        for _ in range(args.repeats + 1):  # the first warms up
            for way, switch in (("torch", plain_torch), ("rows", nullcontext)):
                with switch():
                    for what, work, given in (("coding", model.encode, audio), ("decoding", model.decode, codes)):
                        times.setdefault((what, way), []).append(
                            processor_ms(partial(work, given, level)) / args.seconds
                        )
                    decoded[way] = model.decode(codes, level)
        for what in ("coding", "decoding"):
            by_torch, by_rows = (min(times[what, way][1:]) for way in ("torch", "rows"))
            print(
                f"{name:4s} {what:8s} torch {by_torch:5.1f}, rows {by_rows:5.1f} ms a second: {by_torch / by_rows:.1f} times as fast"
            )
        print(
            f"{name:4s} the two results differ by {float((decoded['torch'] - decoded['rows']).abs().max()):.1e} at most"
        )


if __name__ == "__main__":
    main()
