"""The worker's steps for a new video: its picture and audio for the page, its dancers, their beats."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from d2m_model.generate.finish import write_wav
from d2m_model.generate.own_beats import audio_of_dance, cut_to
from d2m_model.generate.own_pose import ENOUGH
from d2m_model.generate.own_video import begin_of, frames_of, read_posed
from d2m_model.generate.own_videos import trained_rhythm
from d2m_model.rhythm.beats_file import Beats, as_written, read_beats, write_beats
from d2m_model.rhythm.model import RhythmModel, load_rhythm
from d2m_model.rhythm.scoring import likeliest_style
from d2m_model.studio.beats_edits import same_beats
from d2m_model.studio.drawing import lufs_of, write_drawing, write_motion
from d2m_model.studio.missed import weights_missed
from d2m_model.studio.work_task import Work
from dataset_tools.clips.params import Params as ClipsParams
from dataset_tools.lib.core.array_file import read_npy, write_npy
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_seconds

INVENTED = (
    "These beats are invented. Play the dance and tap its beats with the key T (Shift T: the first of a bar): the first tap removes all "
    "invented beats, and Undo brings them back. Then make the music."
)
"""What to do where nobody was found."""
HEAR = "Hear the beats with Click, then correct or tap them."
"""What to do where the dancer was hardly seen."""


def read_video(work: Work) -> dict[str, Any]:
    """Write the picture and the audio for the page."""
    from dataset_tools.clips.normalise import cut_span
    from dataset_tools.clips.open_video import OpenVideo

    video, clips = work.job.folder / work.job.video, load_params(work.layout.params, "clips", ClipsParams)
    frames = frames_of(video)
    if frames > work.params.seconds * FPS:
        raise UserError(
            f"{work.job.name}: lasts {frames_to_seconds(frames):.0f} s; the studio takes at most {work.params.seconds} s: cut it"
        )
    height = min(work.params.preview_height, clips.max_height)
    cut = cut_span(OpenVideo(video, threads=2), max_height=height, crop=clips.crop, audio=False)
    made = replace(cut, frames=progress(cut.frames, "picture", cut.count, unit="frame")).write(
        work.job.folder / "preview.mp4"
    )
    begin = begin_of(video)
    audio = _original_audio(video, begin, frames)
    if audio is not None:
        write_wav(work.job.folder / "original.wav", audio)
        write_drawing(work.job.folder / "original.json", audio)
    seconds = frames_to_seconds(frames)
    found = f"{seconds:.1f} s, {made.source_width} x {made.source_height} px, {made.source_fps:.4g} frames a second"
    return {
        "found": found + ("" if audio is not None else ", no audio"), "frames": frames, "seconds": seconds, "begin": begin,
        "width": made.width, "height": made.height, "sound": audio is not None, "lufs": None if audio is None else lufs_of(audio, SAMPLE_RATE),
    }  # fmt: skip


def _original_audio(video: Path, begin: float, frames: int) -> np.ndarray | None:
    """`audio_of_dance`; where the audio can't be read, None and a message."""
    try:
        return audio_of_dance(video, begin, frames)
    except UserError as err:
        say("studio", f"the video's audio can't be read: {err}")
        return None


def find_pose(work: Work) -> dict[str, Any]:
    """Find the dancers, as `generate` does."""
    posed = read_posed(work.job.folder / work.job.video, work.layout, stage="studio")
    shares = (posed.pose[..., 2] > 0).any(axis=2).mean(axis=0)
    pose = posed.pose[:, : max(1, int((shares > 0).sum()))]  # dancers come first, empty places last
    write_npy(work.job.folder / "pose.npy", pose)
    seen = [round(float(share), 3) for share in shares[: pose.shape[1]]]
    people = [share for share in seen if share]
    doubt = not people or people[0] < ENOUGH
    if not people:
        found = "nobody was found; the music will have a rhythm of its own, unless you tap the beats"
    elif len(people) == 1:
        found = f"1 dancer, seen in {people[0]:.0%} of the frames"
    else:
        found = f"{len(people)} dancers, the first seen in {people[0]:.0%} of the frames"
    advice = ""
    if people and doubt:
        found += ", too few to trust the beats"
        advice = f"{HEAR} "
    if better := weights_missed(work.layout, posed.weights, work.job.folder / work.job.video):
        doubt = True
        found += "; the demo's weights were used"
        advice += (
            "The demo's weights were trained on rendered dancers: compare the skeleton with the picture. For real dancers, be online, or put "
            f"{better}.pkl into the folder weights in the working folder of the studio (docs/weights.md: where to get it); then open "
            "the video again, as new work. Beats that you corrected stay in this one: JSON under Export takes them to generate --beats."
        )
    return {
        "found": found,
        "size": list(posed.size),
        "people": pose.shape[1],
        "joints": pose.shape[2],
        "seen": seen,
        "doubt": doubt,
        "advice": advice.strip(),
    }


def find_beats(work: Work) -> dict[str, Any]:
    """Find the beats of the dancer whom the person chose. If nobody was seen, the model invents them. With the argument "keep", the current
    beats stay: an undo brought back both them and this dancer."""
    pose = np.asarray(read_npy(work.job.folder / "pose.npy"), np.float32)
    dancer = min(work.job.dancer, pose.shape[1] - 1)
    beats = cut_to(as_written(rhythm_model(work.layout).beats_of(pose[:, dancer])), frames_to_seconds(work.frames))
    write_motion(work.job.folder / "motion.json", pose[:, dancer])
    write_beats(work.job.found_beats, beats)
    write_beats(work.job.beats, beats_with(work.job.beats, beats) if work.arguments.get("keep") else beats)
    count = len(beats.beats)
    told = f"{count} beat{'s' * (count > 1)}" + (f", {beats.tempo:.0f} a minute" if beats.tempo else "")
    seen = float((pose[:, dancer, :, 2] > 0).any(axis=1).mean())
    if not seen:
        found = f"nobody was found: a rhythm of its own, {told}" if count else "nobody was found: no beats"
        return {"found": found, "doubt": True, "advice": INVENTED, "invented": True}
    style = f", most like {likeliest_style(beats)}" if beats.style else ""
    found = told + style if count else "no beats were found"
    if seen < ENOUGH:
        return {
            "found": f"{found}, from the {seen:.0%} of the frames in which the dancer was seen",
            "doubt": True,
            "advice": HEAR,
        }
    return {"found": found}


def beats_with(path: Path, found: Beats) -> Beats:
    """The beats of a file, with the style of those that were found. If both have the same times, the found ones."""
    now = read_beats(path)
    return found if same_beats(now, found) else replace(now, style=found.style)


@functools.cache
def rhythm_model(layout: Layout) -> RhythmModel:
    """The trained rhythm model, loaded once."""
    return load_rhythm(trained_rhythm(layout))
