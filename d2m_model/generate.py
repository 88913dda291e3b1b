"""Music for dances, from models that were trained: for a corpus's test clips, or for any video.

As a pipeline stage, every test clip of the shards -> runs/<corpus>/generate/<level>-<variant>/<clip_id>.wav:
    python -m d2m_model.generate --corpus demo --level high --variant full
For your own dance video, of any length, the video with its new music or the music alone:
    python -m d2m_model.generate --video IN.mp4 --out OUT.mp4
    python -m d2m_model.generate --video IN.mp4 --out X.wav --level both
With --level both the two results are X-high.wav and X-low.wav.
"""

import argparse
import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_model.generation.finish import denoise, normalise, write_wav
from d2m_model.generation.mux import CONTAINERS, mux
from d2m_model.generation.windows import WindowModel, render
from d2m_model.training.seeding import seed_everything
from d2m_model.training.vqvae_files import decoder_of
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, write_records
from dataset_tools.base.shard_set import ShardSet
from dataset_tools.base.timebase import FPS, LEVELS, SAMPLE_RATE, frames_to_seconds
from dataset_tools.base.workers import progress


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `generate` of params.yaml."""

    split: str = "test"
    """Whose clips the stage makes music for."""
    hop: int = 1
    """Whole seconds between the starts of windows."""
    crossfade: float = 0.25
    """Seconds in which one window goes over into the next."""
    denoise: float = 0.25
    """Strength of the noise gate, 0 (off) to 1. It takes music with the hiss: on reconstructed demo clips 0.25 moved the
    log-mel distance to the original by under 1 % either way, 1 raised it by 17 to 39 %."""
    loudness: float = -16.0
    """LUFS of a finished sound, unless `peak` allows less."""
    peak: float = 0.95
    """Highest sample of a finished sound; 1 is full scale."""
    seed: int = 0
    """Of whatever a model draws at random."""
    threads: int = 1
    """CPU threads; sounds are equal to the byte for equal numbers of them. One window is little work: on a busy machine
    a second thread costs more than it gives."""

    def __post_init__(self):
        require(self.split in ("train", "val", "test"), f"split must be train, val or test, found '{self.split}'")
        require(self.hop >= 1, f"hop must be at least 1 s, found {self.hop}")
        require(0 <= self.crossfade <= self.hop / 2, f"crossfade must be 0 to hop / 2, found {self.crossfade}")
        require(0 <= self.denoise <= 1, f"denoise must be 0 to 1, found {self.denoise}")
        require(-70 <= self.loudness <= 0, f"loudness must be -70 to 0 LUFS, found {self.loudness}")
        require(self.threads >= 1, f"threads must be at least 1, found {self.threads}")
        require(0 < self.peak <= 1, f"peak must be above 0 and at most 1, found {self.peak}")


@dataclass(frozen=True, kw_only=True)
class SoundRow(Row):
    """One row of rows.csv: a test clip's music."""

    seconds: float
    peak: float
    """Highest absolute sample."""


def load_model(layout: Layout, level: str, variant: str) -> WindowModel:
    """The trained generator with its synthesizer. Raises UserError, with the commands that train them, where one is
    not there."""
    decoder = decoder_of(layout, level, variant).parent
    stage = "vqvae" if decoder == layout.stage("vqvae") else f"synthesizer --level {level}"
    wanted = {
        f"d2m_model.{stage} --corpus {layout.corpus}": decoder,
        f"d2m_model.d2m_gan --corpus {layout.corpus} --level {level} --variant {variant}": layout.stage("d2m_gan")
        / f"{level}-{variant}",
    }
    missing = {command: folder for command, folder in wanted.items() if not (folder / "model.pt").is_file()}
    if missing:
        commands = " and then ".join(f"`python -m {command}`" for command in missing)
        first = next(iter(missing.values())) / "model.pt"
        raise UserError(f"{first}: no model trained yet; train it with `make repro` (everything) or {commands}")
    from d2m_model.training.music_model import MusicModel

    synthesizer, generator = (folder / "model.pt" for folder in wanted.values())
    return MusicModel.load(generator, synthesizer)


def compose(
    model: WindowModel, pose: np.ndarray, size: tuple[int, int], visual: np.ndarray, params: Params
) -> np.ndarray:
    """Finished music for one dance: windows joined, denoised, normalised. Shapes as in `render`; (T * 735,) float32."""
    seed_everything(params.seed, params.threads)  # before each dance: its music does not depend on those before it
    fade = round(params.crossfade * SAMPLE_RATE)
    audio = render(model, pose, size, visual, hop=params.hop * FPS, fade=fade)
    return normalise(denoise(audio, params.denoise), params.loudness, params.peak)


def generate_split(shards: ShardSet, model: WindowModel, folder: Path, params: Params, label: str) -> list[SoundRow]:
    """Write <clip_id>.wav for every clip of `shards`, and rows.csv; sounds of earlier runs are removed."""
    rows = []
    for entry in progress(shards.clips, label):
        pose = shards.read(entry.clip_id).pose
        audio = compose(model, pose, (entry.width, entry.height), shards.read_i3d(entry.clip_id), params)
        write_wav(folder / f"{entry.clip_id}.wav", audio)
        peak = round(float(np.abs(audio).max()), 4)
        rows.append(SoundRow(id=entry.clip_id, status="ok", seconds=frames_to_seconds(entry.frames), peak=peak))
    for stale in set(folder.glob("*.wav")) - {folder / f"{row.id}.wav" for row in rows}:
        stale.unlink()
    write_records(folder / "rows.csv", rows, SoundRow)
    return rows


def generate_video(video: Path, outs: dict[str, Path], layout: Layout, variant: str, params: Params) -> None:
    """Make music for a video file: one output per level, a video (its picture unchanged) or a .wav.

    Raises UserError: no such file, not a video, an output of another kind, no trained model.
    """
    from d2m_model.generation.own_video import read_dance

    models = {level: load_model(layout, level, variant) for level in outs}
    with tempfile.TemporaryDirectory(prefix="d2m-") as scratch:
        dance = read_dance(video, Path(scratch), layout)
    seconds = frames_to_seconds(len(dance.pose))
    say("generate", f"{video.name}: {seconds:.1f} s, dancer seen in {dance.coverage:.0%} of the frames")
    if dance.coverage == 0:
        say("generate", f"warning: nobody was found in {video.name}; the music follows the picture alone")
    for level, out in outs.items():
        audio = compose(models[level], dance.pose, dance.size, dance.visual, params)
        note = ""
        if out.suffix.lower() == ".wav":
            write_wav(out, audio)
        elif not mux(video, audio, out, delay=dance.begin):
            note = ", picture encoded again as H.264"
        say("generate", f"{level}: {seconds:.1f} s of music -> {out}{note}")


def outputs(out: Path, level: str) -> dict[str, Path]:
    """Level to output file. Raises UserError for a suffix that can't be written or a folder that isn't there."""
    if out.suffix.lower() not in (*CONTAINERS, ".wav"):
        raise UserError(f"{out}: --out must end in {', '.join(CONTAINERS)} or .wav")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; make it first")
    if level != "both":
        return {level: out}
    return {name: out.with_name(f"{out.stem}-{name}{out.suffix}") for name in LEVELS}


def _parser() -> argparse.ArgumentParser:
    parser = stage_parser("d2m_model.generate", __doc__)
    parser.add_argument("--level", choices=(*LEVELS, "both"), default="high", help="codes of the model (default: high)")
    parser.add_argument("--variant", default="full", help="which trained variant (default: full)")
    parser.add_argument("--video", type=Path, help="your own dance video")
    parser.add_argument("--out", type=Path, help="video or .wav to write for --video")
    parser.add_argument("--seed", type=int, help="overrides generate.seed of params.yaml")
    parser.add_argument("--denoise", type=float, help="overrides generate.denoise: 0 (off) to 1")
    return parser


def _chosen(args: argparse.Namespace, layout: Layout) -> Params:
    given = {name: getattr(args, name) for name in ("seed", "denoise") if getattr(args, name) is not None}
    try:
        return dataclasses.replace(load_params(layout.params, "generate", Params), **given)
    except ValueError as err:
        raise UserError(f"generate: {err}") from None


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    layout = layout_of(args)
    params = _chosen(args, layout)
    if (args.video is None) != (args.out is None):
        raise UserError("generate: --video and --out go together")
    if args.video:
        if not args.video.is_file():
            raise UserError(f"{args.video}: file not found")
        if args.out.exists() and args.out.samefile(args.video):
            raise UserError(f"{args.out}: --out is the video itself, which would be lost; name another file")
        generate_video(args.video, outputs(args.out, args.level), layout, args.variant, params)
        return 0
    for level in LEVELS if args.level == "both" else [args.level]:
        name = f"{level}-{args.variant}"
        shards = ShardSet(layout.stage("shards"), params.split)
        model = load_model(layout, level, args.variant)
        rows = generate_split(shards, model, layout.stage("generate") / name, params, f"generate {name}")
        say("generate", f"{name}: {len(rows)} clips, {sum(row.seconds for row in rows):.1f} s of music")
    return 0


if __name__ == "__main__":
    run(main)
