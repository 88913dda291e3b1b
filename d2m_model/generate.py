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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_model.generation.arguments import PRIOR, outputs, parser_of
from d2m_model.generation.beats import write_beats
from d2m_model.generation.composing import Composer, Dance, Generator, Rhythmic
from d2m_model.generation.finish import write_wav
from d2m_model.generation.settings import Params, chosen
from d2m_model.prior.player import load_player
from d2m_model.rhythm.beats_file import read_beats
from d2m_model.training.music_model import MusicModel, inputs_of
from d2m_model.training.vqvae_files import decoder_of
from dataset_tools.base.cli import layout_of, run, say
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.schema import Row, write_records
from dataset_tools.base.shard_format import ClipEntry
from dataset_tools.base.shard_set import ShardSet
from dataset_tools.base.timebase import LEVELS, frames_to_seconds
from dataset_tools.base.workers import progress


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


def load_model(layout: Layout, level: str, variant: str, inputs: Mapping[str, str], genre: str | None = None) -> Composer:
    """The trained prior or generator with its synthesizer; `inputs` says what the dances are read with, `genre` what all of
    them are, where that is known, for a generator that is told.

    Raises UserError as `trained` does, and where it was trained on dances read otherwise.
    """
    if variant == PRIOR:
        return Rhythmic(load_player(layout, level))
    model = MusicModel.load(*trained(layout, level, variant), inputs)
    return Generator(model if genre is None else model.for_genre(genre))


def dance_of(shards: ShardSet, entry: ClipEntry, stream: str, rhythm: Path) -> Dance:
    """A clip of the shards as a composer that reads `stream` wants it; rhythm: folder of its beats, <clip_id>.json."""
    known = {"frames": entry.frames, "size": (entry.width, entry.height), "genre": entry.genre}
    if stream == "beats":
        return Dance(**known, beats=read_beats(rhythm / f"{entry.clip_id}.json"))
    return Dance(**known, pose=getattr(shards.read(entry.clip_id), stream), visual=shards.read_i3d(entry.clip_id))


def generate_split(
    shards: ShardSet, model: Composer, folder: Path, params: Params, label: str, *, rhythm: Path, beats: bool = False
) -> list[SoundRow]:
    """Write <clip_id>.wav for every clip of `shards`, with `beats` a .json beside each, and rows.csv; sounds of earlier
    runs are removed. rhythm: folder of the clips' beats, as the stage `rhythm` reads them from the motion."""
    rows = []
    for entry in progress(shards.clips, label):
        audio = model.compose(dance_of(shards, entry, model.stream, rhythm), params)
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


def load_models(layout: Layout, levels: Sequence[str], variant: str, genre: str = "") -> dict[str, Composer]:
    """Models for a user's own videos, which are read with the weights of params.yaml; `genre` for those that are told."""
    from d2m_model.generation.own_video import inputs_of_settings

    for level in levels if variant != PRIOR else ():
        trained(layout, level, variant)
    inputs = inputs_of_settings(layout)
    if inputs["pose_weights"].startswith("pose_demo@"):
        say("generate", "warning: demo weights, trained on rendered dancers: in real videos they often see nobody")
    return {level: load_model(layout, level, variant, inputs, genre) for level in levels}


def main(argv: list[str] | None = None) -> int:
    args = parser_of(__doc__).parse_args(argv)
    layout = layout_of(args)
    params = chosen(args, layout)
    if (args.video is None) != (args.out is None):
        raise UserError("generate: --video and --out go together")
    levels = list(LEVELS) if args.level == "both" else [args.level]
    if args.video and args.video.is_dir():
        from d2m_model.generation.own_videos import generate_folder

        models = load_models(layout, levels, args.variant, args.genre)
        generate_folder(args.video, args.out, args.level, models, layout, params, beats=args.json)
        return 0
    if args.video:
        from d2m_model.generation.own_videos import generate_video

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
        rows = generate_split(shards, model, layout.stage("generate") / name, params, f"generate {name}", rhythm=layout.stage("rhythm") / "beats", beats=args.json)
        say("generate", f"{name}: {len(rows)} clips, {sum(row.seconds for row in rows):.1f} s of music")
    return 0


if __name__ == "__main__":
    run(main)
