"""Measures the speed of a training step of the preset `released` at full size against a plain eager float32 implementation.

    python -m benchmarks.train_step --out benchmarks/results/train_step-CPU.json
    python -m benchmarks.train_step --level low --batch 4 --out benchmarks/results/train_step-CPU-low.json
    python -m benchmarks.train_step --device cuda --repeats 50 --out benchmarks/results/train_step-GPU.json

By default a batch has 16 windows, as in `d2m_gan` and in the authors' program. Both train motion encoder, generator and
discriminators from the same weights on the same batch, in one process. All losses of the first step must agree (to 1e-4; with
bf16 to 2e-2). A step has the forward passes and both optimizers. Our step runs like in training on the device: float32 on a CPU,
bf16 and compiled on CUDA. It decodes only in steps that end a row of the curves, because decoded audio trains nothing here; one
such step in 50 is included in the time. It does not compute the music's codes and latents, which are computed once per clip
before a training. It keeps freed memory (`nets/cpu/memory.py`); this affects the rest of the process, so the plain steps run
first. The table shows one further step of each under the profiler.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.plain_step import PlainStep
from d2m_model.d2m_gan.params import Params
from d2m_model.d2m_gan.task import GanTask, draw_excerpt
from d2m_model.losses.gan_terms import Target
from d2m_model.losses.spectral import MEL_BANDS, MEL_FFT, mel_filterbank
from d2m_model.nets.cpu.memory import keep_freed_memory
from d2m_model.nets.dance_to_codes import VISUAL
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.motion_features import plain_coordinates
from d2m_model.nets.presets import PRESETS
from d2m_model.training.dance_data import DanceBatch
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.timebase import LEVELS, SAMPLE_RATE, frames_to_samples

FRAMES, JOINTS, SIZE = 60, 25, (406.0, 720.0)
LOG_EVERY = 50
PARTS = (
    "encoder of the music", "generator", "discriminators, their step: real", "discriminators, their step: generated",
    "discriminators, generator's step: generated", "discriminators, generator's step: real", "decoder", "backward", "optimisers",
)  # fmt: skip


def fake_batch(size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """pose (B, 60, 25, 3), visual (B, 2048), audio (B, 44100) of `size` windows."""
    torch.manual_seed(0)
    pose = torch.rand(size, FRAMES, JOINTS, 3) * torch.tensor([*SIZE, 1.0])
    return pose, torch.rand(size, VISUAL), torch.rand(size, frames_to_samples(FRAMES)) - 0.5


class OneBatch:
    """Replaces `training.dance_data.DanceData` with the same windows at every step."""

    stream = "pose"

    def __init__(self, batch: DanceBatch):
        self.windows = SimpleNamespace(
            frames=FRAMES, clips=[], shards=SimpleNamespace(info=SimpleNamespace(joints=JOINTS))
        )
        self.one, self.codes = batch, {"clip": batch.music.codes}

    def batch(self, seed: int, step: int, size: int) -> DanceBatch:
        return self.one


def rename_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of our network with the old names of weight normalisation."""
    new = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    result = {}
    for name, value in state.items():
        for ours, theirs in new.items():
            name = name.replace(ours, theirs)
        result[name] = value.clone()
    return result


def build_steps(level: str, size: int, device: torch.device) -> tuple[Callable, Callable]:
    """(plain step, our step): functions of the step's number that return the losses, and start from the same weights."""
    index = LEVELS[level]
    torch.manual_seed(1)
    vqvae = JukeboxVQVAE().requires_grad_(False)
    vqvae.codebook(index).k.normal_()
    pose, visual, audio = fake_batch(size)
    sides = tuple(torch.full((size, 1, 1, 1), side) for side in SIZE)
    latents = vqvae.latents(audio, index)
    music = Target(vqvae.quantise(latents, index).codes, audio, torch.zeros(size, dtype=torch.int64), latents)
    shown = {"excerpt_windows": size, "discriminator_windows": size, "log_every": LOG_EVERY}
    params = Params(preset="released", batch=size, gradient_norm=0.0, steps=10 * LOG_EVERY, **shown)
    ours = GanTask(
        PRESETS["released"], level, vqvae, OneBatch(DanceBatch(pose, sides, visual, music, [])), params, device
    )

    excerpt = draw_excerpt(0, music.codes.shape[1], level, params)
    part = slice(excerpt.first, excerpt.first + excerpt.codes)
    filters = torch.from_numpy(mel_filterbank(SAMPLE_RATE, MEL_FFT, MEL_BANDS))
    plain = PlainStep(level, FRAMES, 3 * JOINTS, filters, part, device)
    plain.encoder.load_state_dict(rename_weights(ours.net.motion_encoder.state_dict()))
    plain.generator.load_state_dict(rename_weights(ours.net.generator.state_dict()))
    plain.discriminator.load_state_dict(rename_weights(ours.discriminator.state_dict()))
    plain.player.down.load_state_dict(vqvae.encoders[index].level_blocks.state_dict())
    plain.player.up.load_state_dict(vqvae.decoders[index].level_blocks.state_dict())
    plain.player.out.load_state_dict(vqvae.decoders[index].out.state_dict())
    plain.player.book.copy_(vqvae.codebook(index).k)
    motion, visual, audio = plain_coordinates(pose, *SIZE).to(device), visual.to(device), audio.to(device)
    return lambda number: plain.step(motion, visual, audio), lambda number: ours.step(
        number, lambda number, losses: None
    )


def compare_losses(
    plain: dict[str, torch.Tensor], ours: dict[str, torch.Tensor], tolerance: float
) -> dict[str, list[float]]:
    """{loss: [plain, ours]}. AssertionError for a missing loss and for a relative difference above `tolerance`; the adversarial loss,
    a mean of scores around 0, is compared absolutely."""
    pairs = {name: [float(value.detach()), float(ours[name].detach())] for name, value in plain.items()}
    for name, (theirs, own) in pairs.items():
        bound = tolerance * (1.0 if name == "adversarial" else abs(theirs))
        assert abs(theirs - own) <= bound, f"loss '{name}': plain {theirs}, ours {own}"
    return pairs


def time_step(step: Callable, number: int, device: torch.device) -> tuple[float, dict[str, torch.Tensor]]:
    """Wall time (s) of one step, and its losses."""
    synchronise(device)
    begun = time.perf_counter()
    losses = step(number)
    synchronise(device)
    return time.perf_counter() - begun, losses


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_step(step: Callable, repeats: int, device: torch.device) -> tuple[float, dict[str, float]]:
    """Median wall time of a step in seconds, and {part of the step: seconds} of one further step; on CUDA the device's time."""
    times = [time_step(step, 0, device)[0] for _ in range(repeats)]
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda) as found:
        watched, _ = time_step(step, 0, device)
    averages = {event.key: event for event in found.key_averages()}
    spent = {
        name: (averages[name].device_time_total if cuda else averages[name].cpu_time_total) / 1e6
        for name in PARTS
        if name in averages
    }
    return statistics.median(times), spent | {"the rest": watched - sum(spent.values())}


def table(result: dict) -> str:
    """A Markdown table of where the time goes."""
    rows = [
        f"| {name} | " + " | ".join(f"{result['table'][who].get(name, 0):.3f}" for who in ("plain", "ours")) + " |"
        for name in (*PARTS, "the rest")
    ]
    medians = f"| **a step, median of {result['repeats']}** | {result['plain_s']:.3f} | {result['ours_s']:.3f} |"
    return "\n".join(["| seconds | plain | ours |", "|:-|-:|-:|", *rows, medians])


def main() -> None:
    parser = command_parser("benchmarks.train_step", __doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument(
        "--out", type=Path, help="JSON to write the result into, beside what it holds of the other level"
    )
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.set_num_threads(args.threads)
    plain, ours = build_steps(args.level, args.batch, device)
    last = LOG_EVERY - 1  # the step at whose end ours decodes too
    _, plain_losses = time_step(plain, last, device)
    plain_s, plain_parts = measure_step(plain, args.repeats, device)
    keep_freed_memory()  # as our training loop does
    decoding, losses = time_step(ours, last, device)
    agreed = compare_losses(plain_losses, losses, 2e-2 if args.device == "cuda" else 1e-4)
    if args.device == "cuda":  # its first step has compiled
        decoding = statistics.median(time_step(ours, last, device)[0] for _ in range(args.repeats))
    own, parts = measure_step(ours, args.repeats, device)
    result = {
        "device": torch.cuda.get_device_name() if args.device == "cuda" else cpu_name(), "torch": torch.__version__,
        "threads": args.threads, "level": args.level, "batch": args.batch, "repeats": args.repeats,
        "plain_s": plain_s, "ours_s": own + max(0.0, decoding - own) / LOG_EVERY, "ours_with_decoding_s": decoding,
        "losses_plain_ours": agreed, "table": {"plain": plain_parts, "ours": parts},
    }  # fmt: skip
    result["times_faster"] = result["plain_s"] / result["ours_s"]
    print(
        f"{result['device']}, torch {result['torch']}, {args.threads} threads, level {args.level}, batch {args.batch}; losses agree\n"
    )
    print(table(result), f"\n\nours is {result['times_faster']:.2f} times as fast", sep="")
    if args.out:
        known = json.loads(args.out.read_text()) if args.out.exists() else {}
        write_text(args.out, json.dumps(known | {args.level: rounded(result)}, indent=2) + "\n")


def cpu_name() -> str:
    """Name of the first CPU, from the kernel."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
