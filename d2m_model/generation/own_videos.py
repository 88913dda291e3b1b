"""Music for dances of one's own: a video, all of a folder, a pose file; or an excerpt of one's own songs."""

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from d2m_model.generation.arguments import outputs
from d2m_model.generation.beats import write_beats
from d2m_model.generation.composing import compose
from d2m_model.generation.finish import normalise, write_wav
from d2m_model.generation.mux import CONTAINERS, mux
from d2m_model.generation.own_music import own_music
from d2m_model.generation.own_video import dance_of_pose, read_dance
from d2m_model.generation.pose_files import ReadPose, read_pose
from d2m_model.generation.settings import Params
from d2m_model.generation.tempo import with_tempo
from d2m_model.generation.windows import WindowModel
from d2m_model.rhythm.beats_file import read_beats
from dataset_tools.base.atomic import check_writable
from dataset_tools.base.cli import say
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.timebase import SAMPLE_RATE, frames_to_seconds
from dataset_tools.vision.video_io import nearest_time, probe, timed_frames, video_end

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".3gp", ".flv", ".wmv")
"""Names of videos in a folder; what is in them may be anything that FFmpeg reads."""


def pose_of(path: Path, fps: float | None, video: Path | None) -> ReadPose:
    """The pose of a file, which may be that of a video: frames a second and the picture's size are then the video's where
    the file does not say. Raises UserError as `read_pose` and `probe`."""
    if video is None:
        given = read_pose(path, fps=fps)
    else:
        info = probe(video)
        counted = path.suffix.lower() not in (".npy", ".pkl", ".pickle")  # an object for each of the video's frames
        given = read_pose(path, fps=fps or (info.fps if counted else None), size=(info.width, info.height))
        if abs(given.seconds - info.seconds) > max(0.5, 0.05 * info.seconds):
            say("generate", f"warning: {path.name} lasts {given.seconds:.1f} s at {given.fps:g} frames a second, {video.name} {info.seconds:.1f} s; is --pose-fps right?")
    say("generate", f"{path.name}: {given.seconds:.1f} s of {given.layout} at {given.fps:g} frames a second, picture of {given.size[0]} x {given.size[1]} px")
    return given


def generate_dance(
    video: Path | None, outs: dict[str, Path], models: dict[str, WindowModel], layout: Layout, params: Params, *, beats: bool,
    given: ReadPose | None = None,
) -> None:  # fmt: skip
    """Make music for a video file, a pose or both: one output per level, a video (its picture unchanged) or a .wav; with
    `beats` a .json beside each.

    Raises UserError: no such file, not a video, an output of another kind or that can't be written.
    """
    if video is None:
        dance, name = dance_of_pose(given), "pose"
        say("generate", "warning: without --video there is no picture: its I3D features are zeros, which no model has seen in training")
    else:
        name = video.name
        with tempfile.TemporaryDirectory(prefix="d2m-") as scratch:
            dance = read_dance(video, Path(scratch), layout, given)
    seconds = frames_to_seconds(len(dance.pose))
    say("generate", f"{name}: {seconds:.1f} s, dancer seen in {dance.coverage:.0%} of the frames")
    if dance.coverage == 0:
        say("generate", f"warning: nobody was found in {name}; the music follows the picture alone")
    for level, out in outs.items():
        audio = compose(models[level], dance.pose, dance.size, dance.visual, params)
        note = _written(out, audio, SAMPLE_RATE, video, dance.begin)
        if beats:
            write_beats(out.with_suffix(".json"), audio, sound=out.name, level=level, seed=params.seed, seconds=seconds)
        say("generate", f"{level}: {seconds:.1f} s of music -> {out}{note}")


def fit_music(folder: Path, beats_file: Path, tempo: float | None, video: Path | None, out: Path, layout: Layout, params: Params, *, beats: bool) -> None:
    """Put the best-fitting excerpt of the songs in `folder` on a dance's beats, at another `tempo` where one is wished:
    for a video, or for as long as the beats say.

    Raises UserError as `own_music`, `read_beats` and `with_tempo`, and for an unreadable video.
    """
    import soxr

    dance = read_beats(beats_file)
    begin, seconds = 0.0, dance.seconds
    if video is not None:
        begin = nearest_time(timed_frames(video), 0.0)
        seconds = video_end(video) - begin
        inside = dance.beats < seconds
        strength = dance.strength[inside] if len(dance.strength) else dance.strength
        dance = replace(dance, seconds=seconds, beats=dance.beats[inside], strength=strength, downbeats=dance.downbeats[dance.downbeats < seconds])
    if tempo is not None:
        dance = with_tempo(dance, tempo)
    made = own_music(folder, layout.cache("own_music"), dance, seconds)
    say("generate", made.told)
    audio = normalise(made.sound, params.loudness, params.peak, made.rate)
    note = _written(out, audio, made.rate, video, begin)
    if beats:
        heard = soxr.resample(audio.mean(axis=0), made.rate, SAMPLE_RATE).astype(np.float32)
        write_beats(out.with_suffix(".json"), heard, sound=out.name, song=made.fit.song.name, seconds=round(seconds, 3))
    say("generate", f"own music: {seconds:.1f} s -> {out}{note}")


def _written(out: Path, audio: np.ndarray, rate: int, video: Path | None, begin: float) -> str:
    """Write a .wav, or the video with this sound; what there is to say of it."""
    if out.suffix.lower() == ".wav":
        write_wav(out, audio, rate)
        return ""
    return "" if mux(video, audio, out, delay=begin, rate=rate) else ", picture encoded again as H.264"


def generate_folder(videos: Path, folder: Path, level: str, models: dict[str, WindowModel], layout: Layout, params: Params, *, beats: bool) -> None:
    """`generate_dance` for every video of a folder, in the order of their names, under their names in another folder.

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
            generate_dance(video, outputs(folder / f"{video.stem}{suffix}", level), models, layout, params, beats=beats)
        except UserError as err:
            say("generate", f"failed: {err}")
            failed.append(video.name)
    if failed:
        raise UserError(f"{len(failed)} of {len(found)} videos failed: {', '.join(failed)}; the others are in {folder}")
