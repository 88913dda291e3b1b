"""The options and parameters that all trainings share. Nothing here imports torch, so that --help and a wrong option are quick."""

import argparse
from dataclasses import dataclass

from dataset_tools.lib.core.cli import add_shards_option, stage_parser
from dataset_tools.lib.core.params import require

PRECISIONS = ("auto", "fp32", "bf16")
COMPILING = ("auto", "always", "never")


@dataclass(frozen=True, kw_only=True)
class TrainingParams:
    """The parameters that the sections of all trainings share."""

    batch: int = 16
    """Windows per step, in all processes together."""
    gradient_norm: float = 0.0
    """Gradients are clipped to this norm; 0 clips none."""
    precision: str = "auto"
    """'fp32', 'bf16', or 'auto': bf16 on CUDA devices that have it, else fp32. For networks that read or write audio, 'auto' is
    fp32, because the rounding of bf16 is a hiss in quiet bands (the mel loss of a random decoder was 14 % too low)."""
    compile: str = "auto"
    """Use torch.compile: 'always', 'never', or 'auto' (on CUDA)."""
    log_every: int = 50
    """Steps per row of curves.csv; a row holds their means."""
    measure_every: int = 0
    """Steps between measurements on held-out clips, with audio to listen to; 0 measures nothing."""
    measure_clips: int = 6
    """Clips per measurement."""
    checkpoint_every: int = 1000
    """Steps between the checkpoints that a killed training can continue from."""
    seed: int = 0
    threads: int = 1
    """CPU threads; results are equal to the byte for an equal number of threads."""

    def __post_init__(self):
        for name in ("batch", "log_every", "measure_clips", "checkpoint_every", "threads"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("gradient_norm", "measure_every", "seed"):
            require(getattr(self, name) >= 0, f"{name} must be at least 0, found {getattr(self, name)}")
        require(
            self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}, found '{self.precision}'"
        )
        require(self.compile in COMPILING, f"compile must be one of {', '.join(COMPILING)}, found '{self.compile}'")

    @property
    def audio_precision(self) -> str:
        """`precision` for networks that read or write audio."""
        return "fp32" if self.precision == "auto" else self.precision


def training_parser(module: str, doc: str) -> argparse.ArgumentParser:
    """`lib.core.cli.stage_parser` with the options --resume and --shards, which every training stage has."""
    parser = stage_parser(module, doc)
    add_shards_option(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on where an earlier run with equal inputs and parameters stopped"
    )
    return parser
