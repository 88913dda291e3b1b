"""Music for dances, from models that were trained: for a corpus's test clips, or for any video.

As a pipeline stage, every test clip of the shards -> runs/<corpus>/generate/<level>-<variant>/<clip_id>.wav:
    python -m d2m_model.generate --corpus demo --level high --variant full
For your own dance video, of any length, the video with its new music or the music alone:
    python -m d2m_model.generate --video IN.mp4 --out OUT.mp4
    python -m d2m_model.generate --video IN.mp4 --out X.wav --level both
For every video of a folder; those that can't be read are named at the end:
    python -m d2m_model.generate --video DIR --out DIR
The pose from a file instead, with or without the video; or an excerpt of your own songs on the dance's beats:
    python -m d2m_model.generate --pose POSE.json --out X.wav
    python -m d2m_model.generate --video IN.mp4 --own-music DIR --beats BEATS.json --out OUT.mp4
With --level both the two results are X-high.wav and X-low.wav; with --json the beats of X.wav are in X.json.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from d2m_model.generation.arguments import check_together, outputs, parser_of
from d2m_model.generation.beats import write_beats
from d2m_model.generation.composing import compose
from d2m_model.generation.finish import write_wav
from d2m_model.generation.settings import Params, chosen
from d2m_model.generation.windows import WindowModel
from d2m_model.training.music_model import MusicModel, inputs_of, load_generator
from d2m_model.training.vqvae_files import decoder_of
from dataset_tools.base.cli import layout_of, run, say
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.schema import Row, write_records
from dataset_tools.base.shard_set import OR, ShardSet
from dataset_tools.base.timebase import LEVELS, frames_to_seconds
from dataset_tools.base.workers import progress

if TYPE_CHECKING:
    from d2m_model.generation.pose_files import ReadPose


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


def load_models_for_pose(
    layout: Layout, levels: Sequence[str], variant: str, genre: str, given: "ReadPose", *, video: bool
) -> tuple[dict[str, WindowModel], "ReadPose"]:
    """Models for a pose file, and its pose in their layout. With `video` the picture must be read as theirs was.

    Raises UserError as `load_model`, and for models that read SMPL motion.
    """
    from d2m_model.generation.own_video import visual_input

    models = {}
    for level in levels:
        generator, _ = trained(layout, level, variant)
        *_, inputs = load_generator(generator)
        if "pose_layout" not in inputs:
            raise UserError(f"{generator}: reads SMPL motion, and --pose gives keypoints; train d2m_gan with stream: pose")
        known = inputs["pose_layout"].split(OR)
        given = given.in_layout(given.layout if given.layout in known else known[0])
        say("generate", f"{level}: was trained on poses of {inputs['pose_weights']}; those of another estimator may be followed less well")
        seen = inputs | ({"i3d_weights": visual_input(layout)} if video else {})
        models[level] = load_model(layout, level, variant, seen).for_genre(genre)
    return models, given


def main(argv: list[str] | None = None) -> int:
    args = parser_of(__doc__).parse_args(argv)
    layout = layout_of(args)
    params = chosen(args, layout)
    check_together(args)
    levels = list(LEVELS) if args.level == "both" else [args.level]
    if args.out:
        _for_own_dance(args, levels, layout, params)
        return 0
    for level in levels:
        name = f"{level}-{args.variant}"
        shards = ShardSet(layout.stage("shards"), params.split)
        model = load_model(layout, level, args.variant, inputs_of(shards.info))
        rows = generate_split(shards, model, layout.stage("generate") / name, params, f"generate {name}", beats=args.json)
        say("generate", f"{name}: {len(rows)} clips, {sum(row.seconds for row in rows):.1f} s of music")
    return 0


def _for_own_dance(args: argparse.Namespace, levels: list[str], layout: Layout, params: Params) -> None:
    from d2m_model.generation.own_videos import fit_music, generate_dance, generate_folder, pose_of

    if args.own_music:
        (out,) = outputs(args.out, "own").values()
        fit_music(args.own_music, args.beats, args.tempo, args.video, out, layout, params, beats=args.json)
    elif args.video and args.video.is_dir():
        models = load_models(layout, levels, args.variant, args.genre)
        generate_folder(args.video, args.out, args.level, models, layout, params, beats=args.json)
    else:
        outs = outputs(args.out, args.level)
        given = None
        if args.pose:
            given = pose_of(args.pose, args.pose_fps, args.video)
            models, given = load_models_for_pose(layout, levels, args.variant, args.genre, given, video=args.video is not None)
        else:
            models = load_models(layout, levels, args.variant, args.genre)
        generate_dance(args.video, outs, models, layout, params, beats=args.json, given=given)


if __name__ == "__main__":
    run(main)
