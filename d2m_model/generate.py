"""Music for dances, from models that were trained: for a corpus's test clips, or for any video.

As a pipeline stage, every test clip of the shards -> runs/<corpus>/generate/<level>-<variant>/<clip_id>.wav:
    python -m d2m_model.generate --corpus demo --level high --variant full
For your own dance video, of any length, the video with its new music or the music alone:
    python -m d2m_model.generate --video IN.mp4 --out OUT.mp4
    python -m d2m_model.generate --video IN.mp4 --out X.wav --level both
For every video of a folder; those that can't be read are named at the end:
    python -m d2m_model.generate --video DIR --out DIR
With --level both the two results are X-high.wav and X-low.wav; with --json the beats of X.wav are in X.json.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from d2m_model.generation.beats import write_beats
from d2m_model.generation.finish import denoise, normalise, write_wav
from d2m_model.generation.mux import CONTAINERS, mux
from d2m_model.generation.windows import WindowModel, render
from d2m_model.training.music_model import MusicModel, inputs_of
from d2m_model.training.seeding import seed_everything
from d2m_model.training.vqvae_files import decoder_of
from dataset_tools.base.atomic import check_writable
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, write_records
from dataset_tools.base.shard_set import ShardSet
from dataset_tools.base.timebase import FPS, LEVELS, SAMPLE_RATE, frames_to_seconds
from dataset_tools.base.workers import progress

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".3gp", ".flv", ".wmv")
"""Names of videos in a folder; what is in them may be anything that FFmpeg reads."""


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


def trained(layout: Layout, level: str, variant: str) -> tuple[Path, Path]:
    """The model.pt of d2m_gan and that of the synthesizer. Raises UserError, with the commands that train them, where
    one is not there."""
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
    synthesizer, generator = (folder / "model.pt" for folder in wanted.values())
    return generator, synthesizer


def load_model(layout: Layout, level: str, variant: str, inputs: Mapping[str, str]) -> WindowModel:
    """The trained generator with its synthesizer; `inputs` says what the dances are read with.

    Raises UserError as `trained` does, and where it was trained on dances read otherwise.
    """
    return MusicModel.load(*trained(layout, level, variant), inputs)


def compose(
    model: WindowModel, pose: np.ndarray, size: tuple[int, int], visual: np.ndarray, params: Params
) -> np.ndarray:
    """Finished music for one dance: windows joined, denoised, normalised. Shapes as in `render`; (T * 735,) float32.

    Raises UserError where the model's windows are too short for `hop` and `crossfade`.
    """
    window = frames_to_seconds(model.frames)
    if params.hop + params.crossfade > window:
        raise UserError(f"generate.hop {params.hop} s and crossfade {params.crossfade} s don't fit into the model's window of {window:g} s; lower hop")
    seed_everything(params.seed, params.threads)  # before each dance: its music does not depend on those before it
    fade = round(params.crossfade * SAMPLE_RATE)
    audio = render(model, pose, size, visual, hop=params.hop * FPS, fade=fade)
    return normalise(denoise(audio, params.denoise), params.loudness, params.peak)


def generate_split(
    shards: ShardSet, model: WindowModel, folder: Path, params: Params, label: str, *, beats: bool = False
) -> list[SoundRow]:
    """Write <clip_id>.wav for every clip of `shards`, with `beats` a .json beside each, and rows.csv; sounds of earlier
    runs are removed."""
    rows = []
    for entry in progress(shards.clips, label):
        dance, told = getattr(shards.read(entry.clip_id), model.stream), model.for_genre(entry.genre)
        audio = compose(told, dance, (entry.width, entry.height), shards.read_i3d(entry.clip_id), params)
        write_wav(folder / f"{entry.clip_id}.wav", audio)
        if beats:
            facts = {"level": label.split()[-1], "seed": params.seed, "seconds": frames_to_seconds(entry.frames)}
            write_beats(folder / f"{entry.clip_id}.json", audio, sound=f"{entry.clip_id}.wav", **facts)
        peak = round(float(np.abs(audio).max()), 4)
        rows.append(SoundRow(id=entry.clip_id, status="ok", seconds=frames_to_seconds(entry.frames), peak=peak))
    for stale in set(folder.glob("*.wav")) - {folder / f"{row.id}.wav" for row in rows}:
        stale.unlink()
    write_records(folder / "rows.csv", rows, SoundRow)
    return rows


def load_models(layout: Layout, levels: Sequence[str], variant: str, genre: str = "") -> dict[str, WindowModel]:
    """Models for a user's own videos, which are read with the weights of params.yaml; `genre` for those that are told."""
    from d2m_model.generation.own_video import inputs_of_settings

    for level in levels:
        trained(layout, level, variant)
    inputs = inputs_of_settings(layout)
    if inputs["pose_weights"].startswith("pose_demo@"):
        say("generate", "warning: demo weights, trained on rendered dancers: real videos get little more than a hum")
    return {level: load_model(layout, level, variant, inputs).for_genre(genre) for level in levels}


def generate_video(video: Path, outs: dict[str, Path], models: dict[str, WindowModel], layout: Layout, params: Params, *, beats: bool) -> None:
    """Make music for a video file: one output per level, a video (its picture unchanged) or a .wav; with `beats` a
    .json beside each.

    Raises UserError: no such file, not a video, an output of another kind or that can't be written.
    """
    from d2m_model.generation.own_video import read_dance

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
        if beats:
            write_beats(out.with_suffix(".json"), audio, sound=out.name, level=level, seed=params.seed, seconds=seconds)
        say("generate", f"{level}: {seconds:.1f} s of music -> {out}{note}")


def generate_folder(videos: Path, folder: Path, level: str, models: dict[str, WindowModel], layout: Layout, params: Params, *, beats: bool) -> None:
    """`generate_video` for every video of a folder, in the order of their names, under their names in another folder.

    Raises UserError: no video there, two of one name, the same folder twice; and at the end, when some failed.
    """
    found = sorted(f for f in videos.iterdir() if f.suffix.lower() in VIDEOS and f.is_file() and not f.name.startswith("."))
    if not found:
        raise UserError(f"{videos}: no video in this folder (looked for {', '.join(VIDEOS)})")
    twice = next((a for a, b in pairwise(sorted(f.stem for f in found)) if a == b), None)
    if twice:
        raise UserError(f"{videos}: two videos are called {twice}; rename one of them")
    if folder.is_file() or (folder.exists() and folder.samefile(videos)):
        raise UserError(f"{folder}: --out must be another folder when --video is one")
    check_writable(folder / found[0].name)
    failed = []
    for video in found:
        suffix = video.suffix.lower() if video.suffix.lower() in CONTAINERS else ".mp4"
        try:
            generate_video(video, outputs(folder / f"{video.stem}{suffix}", level), models, layout, params, beats=beats)
        except UserError as err:
            say("generate", f"failed: {err}")
            failed.append(video.name)
    if failed:
        raise UserError(f"{len(failed)} of {len(found)} videos failed: {', '.join(failed)}; the others are in {folder}")


def outputs(out: Path, level: str) -> dict[str, Path]:
    """Level to output file. Raises UserError for a suffix that can't be written or a folder that isn't there, and as
    `check_writable`."""
    if out.suffix.lower() not in (*CONTAINERS, ".wav"):
        raise UserError(f"{out}: --out must end in {', '.join(CONTAINERS)} or .wav")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; make it first")
    found = {level: out} if level != "both" else {name: out.with_name(f"{out.stem}-{name}{out.suffix}") for name in LEVELS}
    for path in found.values():
        check_writable(path)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = stage_parser("d2m_model.generate", __doc__)
    parser.add_argument("--level", choices=(*LEVELS, "both"), default="high", help="codes of the model (default: high)")
    parser.add_argument("--variant", default="full", help="which trained variant (default: full)")
    parser.add_argument("--video", type=Path, help="your own dance video, or a folder of them")
    parser.add_argument("--out", type=Path, help="video or .wav to write for --video; a folder where that is one")
    parser.add_argument("--genre", default="", help="of your dance, for a model that is told it (d2m_gan.genres)")
    parser.add_argument("--seed", type=int, help="overrides generate.seed of params.yaml")
    parser.add_argument("--json", action="store_true", help="write the detected beats and tempo beside each sound")
    parser.add_argument("--loudness", type=float, help="overrides generate.loudness: LUFS, -70 to 0")
    parser.add_argument("--denoise", type=float, help="overrides generate.denoise: 0 (off) to 1")
    return parser


def _chosen(args: argparse.Namespace, layout: Layout) -> Params:
    given = {name: getattr(args, name) for name in ("seed", "loudness", "denoise") if getattr(args, name) is not None}
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
    levels = list(LEVELS) if args.level == "both" else [args.level]
    if args.video and args.video.is_dir():
        models = load_models(layout, levels, args.variant, args.genre)
        generate_folder(args.video, args.out, args.level, models, layout, params, beats=args.json)
        return 0
    if args.video:
        if not args.video.is_file():
            raise UserError(f"{args.video}: file not found")
        if args.out.exists() and args.out.samefile(args.video):
            raise UserError(f"{args.out}: --out is the video itself, which would be lost; name another file")
        outs = outputs(args.out, args.level)
        models = load_models(layout, levels, args.variant, args.genre)
        generate_video(args.video, outs, models, layout, params, beats=args.json)
        return 0
    for level in levels:
        name = f"{level}-{args.variant}"
        shards = ShardSet(layout.stage("shards"), params.split)
        model = load_model(layout, level, args.variant, inputs_of(shards.info))
        rows = generate_split(shards, model, layout.stage("generate") / name, params, f"generate {name}", beats=args.json)
        say("generate", f"{name}: {len(rows)} clips, {sum(row.seconds for row in rows):.1f} s of music")
    return 0


if __name__ == "__main__":
    run(main)
