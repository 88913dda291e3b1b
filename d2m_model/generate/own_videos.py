"""Music for the user's own dances: for a video, all videos of a folder, or a pose file.

A model generates the music, or it is taken from the user's own songs.
"""

import tempfile
import traceback
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from d2m_model.generate.arguments import out_of, outputs
from d2m_model.generate.detected_beats import write_beats as write_detected
from d2m_model.generate.finish import loudness_note, normalise, write_wav
from d2m_model.generate.generators import Dance, MusicGenerator
from d2m_model.generate.given_files import VIDEOS, videos_of
from d2m_model.generate.mux import mux
from d2m_model.generate.original_audio import mixed
from d2m_model.generate.own_beats import NOTHING, Given, asked_beats, cut_to, goals_of_audio
from d2m_model.generate.own_music import own_music
from d2m_model.generate.own_songs import read_songs
from d2m_model.generate.own_video import Posed, begin_of, dance_of_pose, frames_of, read_dance, read_posed
from d2m_model.generate.params import MOTION, Params
from d2m_model.generate.pose_files import ReadPose, dancers_of, read_pose
from d2m_model.generate.takes import Again
from d2m_model.metrics.motion_beats import motion_beats
from d2m_model.rhythm.beats_export import export_beats
from d2m_model.rhythm.beats_file import Beats, as_written, read_beats
from d2m_model.rhythm.model import load_rhythm
from dataset_tools.lib.audio.mono import to_mono
from dataset_tools.lib.core.atomic import check_writable
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import SAMPLE_RATE, frames_to_seconds, seconds_to_frames
from dataset_tools.lib.video.video_io import probe


def pose_of(path: Path, fps: float | None, video: Path | None, dancer: int = 0) -> ReadPose:
    """The pose of one dancer of a file. video: the video that it belongs to, whose frame rate and size are used where the file has none.
    Raises UserError as `read_pose` and `probe`."""
    if video is None:
        given = read_pose(path, fps=fps, dancer=dancer)
    else:
        info = probe(video)
        given = read_pose(path, fps=fps, video_fps=info.fps, size=(info.width, info.height), dancer=dancer)
        if abs(given.seconds - info.seconds) > max(0.5, 0.05 * info.seconds):
            say(
                "generate",
                f"warning: {path.name} lasts {given.seconds:.1f} s at {given.fps:g} frames a second, {video.name} {info.seconds:.1f} s; is --pose-fps right?",
            )
    say(
        "generate",
        f"{path.name}: {given.seconds:.1f} s of {given.layout} at {given.fps:g} frames a second, picture of {given.size[0]} x {given.size[1]} px",
    )
    return given


class Found(NamedTuple):
    """A dance as input of generators, and how it was read."""

    dance: Dance
    begin: float
    """When the music begins, in seconds of the video's clock."""
    coverage: float | None
    """Share of the frames in which the dancer was seen; None if no pose was needed."""


def find_dance(video: Path | None, streams: Collection[str], given: Given, layout: Layout) -> Found:
    """The dance with everything that generators of these `streams` read. Visual features and pose are only computed if needed. A pose
    is also needed to predict beats, if none are given.

    Raises UserError as `read_dance`, `read_beats`, `asked_beats` and `Posed.of_dancer`, and for a dance or beats beyond the limits of
    `Beats`. A rhythm model that is needed but not trained, and audio to snap to that has no beats, are errors before the search for
    the dancer, which takes longest.
    """
    try:
        return _find_dance(video, streams, given, layout)
    except UserError:
        raise
    except ValueError as err:  # from Beats, for a dance of many hours
        raise UserError(f"{name_of(video, given)}: {err}; cut the dance") from None


def name_of(video: Path | None, given: Given) -> str:
    """The name of a dance, for messages."""
    return video.name if video else given.beats.name if given.beats and not given.pose else "pose"


def _find_dance(video: Path | None, streams: Collection[str], given: Given, layout: Layout) -> Found:
    rhythm = load_rhythm(trained_rhythm(layout)) if "beats" in streams and not given.beats else None
    goals = np.zeros(0)
    if given.snap and given.snap != MOTION:
        goals = goals_of_audio(given.snap, video)
    if given.beats and set(streams) == {"beats"} and not given.needs_pose:
        begin = begin_of(video) if video else 0.0
        frames = frames_of(video) if video else len(given.pose.pose) if given.pose else None
        beats = cut_to(read_beats(given.beats), None if frames is None else frames_to_seconds(frames))
        frames = frames or max(1, seconds_to_frames(beats.seconds))
        return Found(Dance(frames=frames, size=(1, 1), beats=asked_beats(beats, given, goals)), begin, None)
    posed: Posed
    if video is None:
        assert given.pose is not None
        posed = dance_of_pose(given.pose)
    else:
        posed = _read(video, streams, given, layout)
        if given.pose is None:
            people = dancers_of(posed.pose)
            posed = posed.of_dancer(given.dancer, video)
            if people > 1:
                say("generate", f"{video.name}: {people} dancers; the music follows number {given.dancer} (--dancer)")
    dance = Dance(frames=len(posed.pose), size=posed.size, pose=posed.pose, visual=getattr(posed, "visual", None))
    if "beats" in streams:
        if rhythm:
            beats = as_written(rhythm.beats_of(posed.pose[:, 0]))
        else:
            assert given.beats is not None
            beats = read_beats(given.beats)
        if given.snap == MOTION:
            goals = motion_beats(posed.pose[:, 0])
        beats = cut_to(beats, frames_to_seconds(dance.frames))
        dance = replace(dance, beats=asked_beats(beats, given, goals))
    return Found(dance, posed.begin, posed.coverage)


def _read(video: Path, streams: Collection[str], given: Given, layout: Layout) -> Posed:
    if set(streams) == {"beats"}:
        return read_posed(video, layout, given.pose)
    with tempfile.TemporaryDirectory(prefix="d2m-") as scratch:
        return read_dance(video, Path(scratch), layout, given.pose)


def trained_rhythm(layout: Layout) -> Path:
    """The corpus's model.pt of `rhythm`. Raises UserError, with the command that trains it, if it is missing."""
    path = layout.stage("rhythm") / "model.pt"
    if not path.is_file():
        raise UserError(
            f"{path}: no rhythm trained yet; train it with `python -m d2m_model.rhythm --corpus {layout.corpus}`, or give --beats"
        )
    return path


def told(name: str, found: Found) -> str:
    """A line for the user about a dance: its length and what was found in it."""
    beats, seen = found.dance.beats, ""
    if found.coverage is not None:
        seen = f", dancer seen in {found.coverage:.0%} of the frames"
    if beats is not None:
        seen += f"; {len(beats.beats)} beats" + (f", {beats.tempo:.0f} a minute" if beats.tempo else "")
        seen += f", most like {max(beats.style, key=beats.style.__getitem__)}" if beats.style else ""
    return f"{name}: {frames_to_seconds(found.dance.frames):.1f} s{seen}"


def generate_dance(
    video: Path | None, outs: Sequence[dict[str, Path]], models: dict[str, MusicGenerator], layout: Layout, params: Params, *, beats: bool,
    given: Given = NOTHING, again: Again | None = None, mix: float = 0.0, beats_out: Sequence[Path] = (),
) -> None:  # fmt: skip
    """Generate music for a video, a pose or beats. Each take has one output per level: a video with the same picture, or a .wav. The
    first take has the seed of `params`, each further take the next one. beats: also write a .json for each output. again: an earlier
    take, of which only parts are generated again. mix: gain of the video's original audio under the music; 0 leaves it out. beats_out:
    files to which the beats that the music is made for are exported.

    Raises UserError for a missing file, one that is no video, and an output that has another suffix or can't be written. Also as
    `MusicGenerator.check` and `Again.regions`, before the slow search for the dancer.
    """
    for generator in models.values():
        generator.check(params)
    if again:
        again.regions()
    _make_music(
        video, outs, models, layout, params, beats=beats, given=given, again=again, mix=mix, beats_out=beats_out
    )


def _make_music(
    video: Path | None, outs: Sequence[dict[str, Path]], models: dict[str, MusicGenerator], layout: Layout, params: Params, *, beats: bool,
    given: Given, again: Again | None, mix: float, beats_out: Sequence[Path] = (),
) -> None:  # fmt: skip
    """`generate_dance` with checked models."""
    streams = {generator.stream for generator in models.values()}
    if video is None and streams != {"beats"}:
        say(
            "generate",
            "warning: without --video the I3D features are zeros, which no model has seen in training",
        )
    with ThreadPoolExecutor(1) as pool:
        pool.submit(
            import_module, "pyloudnorm"
        )  # takes two seconds, in which the video is decoded; `normalise` needs it
        found = find_dance(video, streams, given, layout)
    name, seconds = name_of(video, given), frames_to_seconds(found.dance.frames)
    say("generate", told(name, found))
    if found.coverage == 0:
        say("generate", f"warning: nobody was found in {name}; the music follows no dancer")
    elif found.dance.beats is not None and not len(found.dance.beats.beats):
        say("generate", f"warning: no beat was found in {name}; the music has a rhythm of its own")
    _export(found.dance.beats, beats_out)
    for number, paths in enumerate(outs):
        chosen = replace(params, seed=params.seed + number)
        for level, out in paths.items():
            made = (
                again.made(models[level], found.dance, chosen)  # type: ignore[arg-type]  # a PriorGenerator: --from works with the prior only
                if again
                else models[level].generate(found.dance, chosen).audio
            )
            audio, note = mixed(made, SAMPLE_RATE, video, found.begin, mix, chosen) if mix and video else (made, "")
            note += ("" if again else loudness_note(audio, chosen.loudness)) + _written(
                out, audio, SAMPLE_RATE, video, found.begin
            )
            if beats:
                write_detected(
                    out.with_suffix(".json"), made, sound=out.name, level=level, seed=chosen.seed, seconds=seconds
                )
            say("generate", f"{level}: {seconds:.1f} s of music, seed {chosen.seed} -> {out}{note}")


def fit_music(
    folder: Path, given: Given, video: Path | None, out: Path, layout: Layout, params: Params, *, beats: bool,
    mix: float = 0.0, beats_out: Sequence[Path] = (),
) -> None:  # fmt: skip
    """Fit the best excerpt of the songs in `folder` to a dance's beats, for a video, a pose, or the length of the beats. beats_out: files
    to which these beats are exported.

    Raises UserError as `own_music` and `find_dance`, and as `read_songs` before the search for the dancer.
    """
    import soxr

    if not given.beats:
        trained_rhythm(layout)  # before reading songs, which also takes long
    songs = read_songs(folder, layout.cache("own_music"))
    found = find_dance(video, {"beats"}, given, layout)
    assert found.dance.beats is not None
    seconds = found.dance.beats.seconds
    say("generate", told(name_of(video, given), found))
    _export(found.dance.beats, beats_out)
    made = own_music(songs, found.dance.beats, seconds)
    say("generate", made.told)
    music = normalise(made.audio, params.loudness, params.peak, made.rate)
    audio, note = mixed(music, made.rate, video, found.begin, mix, params) if mix and video else (music, "")
    note += loudness_note(audio, params.loudness, made.rate) + _written(out, audio, made.rate, video, found.begin)
    if beats:
        mono = soxr.resample(to_mono(music, made.rate), made.rate, SAMPLE_RATE).astype(np.float32)
        write_detected(
            out.with_suffix(".json"), mono, sound=out.name, song=made.fit.song.name, seconds=round(seconds, 3)
        )
    say("generate", f"own music: {seconds:.1f} s -> {out}{note}")


def _export(beats: Beats | None, paths: Sequence[Path]) -> None:
    for path in paths:
        assert beats is not None  # without beats, none are asked for
        export_beats(path, beats)
        say("generate", f"{len(beats.beats)} beats -> {path}")


def _written(out: Path, audio: np.ndarray, rate: int, video: Path | None, begin: float) -> str:
    """Write a .wav, or the video with this audio; returns a remark for the user."""
    if out.suffix.lower() == ".wav":
        write_wav(out, audio, rate)
        return ""
    assert video is not None  # without a video, the output is a .wav
    return "" if mux(video, audio, out, delay=begin, rate=rate) else ", picture encoded again as H.264"


def generate_folder(
    videos: Path, folder: Path, level: str, models: dict[str, MusicGenerator], layout: Layout, params: Params, *, beats: bool,
    mix: float = 0.0,
) -> None:  # fmt: skip
    """`generate_dance` for every video of a folder, sorted by name, into files of the same names in another folder.

    Raises UserError for a folder without videos, for two videos of one name, for the same folder twice, for a rhythm model that is
    needed but not trained, and at the end if some failed.
    """
    found = videos_of(videos)
    if not found:
        raise UserError(f"{videos}: no video in this folder (looked for {', '.join(VIDEOS)})")
    twice = next((a for a, b in pairwise(sorted(f.stem for f in found)) if a == b), None)
    if twice:
        raise UserError(f"{videos}: two videos are called {twice}; rename one of them")
    if folder.is_file() or (folder.exists() and folder.samefile(videos)):
        raise UserError(f"{folder}: --out must be another folder than --video")
    check_writable(folder / found[0].name)
    for generator in models.values():
        generator.check(params)
    if any(generator.stream == "beats" for generator in models.values()):
        trained_rhythm(layout)
    failed = []
    for video in found:
        try:
            outs = outputs(out_of(video, folder), level)
            _make_music(video, outs, models, layout, params, beats=beats, given=NOTHING, again=None, mix=mix)
        except UserError as err:
            say("generate", f"failed: {err}")
            failed.append(video.name)
        except Exception as err:  # noqa: BLE001 - an error in one video must not stop the others
            traceback.print_exc()
            say("generate", f"failed: {video.name}: {' '.join(f'{type(err).__name__}: {err}'.split())}")
            failed.append(video.name)
    if failed:
        raise UserError(f"{len(failed)} of {len(found)} videos failed: {', '.join(failed)}; the others are in {folder}")
