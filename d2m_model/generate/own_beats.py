"""Which beats the music for a user's own dance is made for: those of the dance or of a file, changed as the user asks."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from d2m_model.generate.own_songs import read_song, sharpened
from d2m_model.generate.own_video import begin_of, frames_of
from d2m_model.generate.params import MOTION
from d2m_model.generate.pose_files import ReadPose
from d2m_model.generate.tempo import with_tempo
from d2m_model.rhythm.beats_file import Beats, as_written
from d2m_model.rhythm.editing import shifted, snapped
from d2m_model.rhythm.music_beats import music_beats
from dataset_tools.lib.audio.mono import to_mono
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import SAMPLE_RATE, frames_to_samples, frames_to_seconds
from dataset_tools.lib.video.video_io import read_audio


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """What the user gives for a dance in place of what would be read from the video, and the changes to its beats."""

    pose: ReadPose | None = None
    dancer: int = 0
    """Which of the video's dancers the music follows, 0 for the one in front; a given pose has only one dancer."""
    beats: Path | None = None
    tempo: float | str | None = None
    """Beats a minute, or 'half' or 'double'."""
    snap: Path | None = None
    """An audio file to whose beats the beats are moved, or `MOTION`."""
    shift: float = 0.0
    """Seconds by which the beats are moved later at the end, after `tempo` and `snap`; earlier if negative."""

    def with_pose(self, pose: ReadPose | None) -> "Given":
        """A copy with another pose, or without one."""
        return replace(self, pose=pose)

    @property
    def needs_pose(self) -> bool:
        """Whether the dancer's pose is needed to know the beats."""
        return self.beats is None or self.snap == MOTION


NOTHING = Given()


def cut_to(beats: Beats, seconds: float | None) -> Beats:
    """The beats within the first `seconds` of a dance; None keeps all."""
    if seconds is None:
        return beats
    inside = beats.beats < seconds
    strength = beats.strength[inside] if len(beats.strength) else beats.strength
    return replace(
        beats,
        seconds=seconds,
        beats=beats.beats[inside],
        strength=strength,
        downbeats=beats.downbeats[beats.downbeats < seconds],
    )


def asked_beats(beats: Beats, given: Given, goals: np.ndarray) -> Beats:
    """The beats as the user asks: first at another tempo, then snapped to the times `goals` (k,) in seconds, and then shifted. Changed
    beats are rounded as in a file of beats. Raises as `with_tempo`."""
    if given.tempo is None and given.snap is None and not given.shift:
        return beats
    if given.tempo is not None:
        beats = with_tempo(beats, given.tempo)
    if given.snap is not None:
        before = beats.beats
        beats = snapped(beats, goals)
        moved = int((beats.beats != before).sum())
        where = "moments at which the dancer almost stops" if given.snap == MOTION else f"beats of {given.snap.name}"
        say("generate", f"{moved} of {len(before)} beats moved to {where}")
    return as_written(shifted(beats, given.shift) if given.shift else beats)


def goals_of_audio(path: Path, video: Path | None) -> np.ndarray:
    """The tracked beats (k,) of an audio file, in seconds from its start. Of the dance's own video, only the audio of the dance is read,
    and seconds count from frame 0 of the dance.

    Raises UserError as `read_song` or `audio_of_dance`, and for audio without beats.
    """
    import soxr

    if video is not None and path.samefile(video):
        mono = audio_of_dance(video, begin_of(video), frames_of(video))
        if mono is None:
            raise UserError(f"{path}: has no audio, so --snap has no beats to move to; name another file")
    else:
        audio, rate = read_song(path)
        mono = soxr.resample(to_mono(audio, rate), rate, SAMPLE_RATE).astype(np.float32)
    found = sharpened(music_beats(mono), mono).beats
    if not len(found):
        raise UserError(f"{path}: no beat was found in its audio, so --snap has no beats to move to; name another file")
    return found


def audio_of_dance(video: Path, begin: float, frames: int) -> np.ndarray | None:
    """A video's own audio (frames * 735,) float32 at 22 050 Hz from frame 0 of the dance on, with silence where it has none; None without
    audio. begin: time of frame 0 in seconds of the video's clock. Raises UserError as `read_audio`."""
    import soxr

    found = read_audio(video, start=begin, seconds=frames_to_seconds(frames))
    if found is None:
        return None
    samples, rate = found
    audio = soxr.resample(to_mono(samples.astype(np.float32) / 32768, rate), rate, SAMPLE_RATE).astype(np.float32)
    wanted = frames_to_samples(frames)
    return np.pad(audio[:wanted], (0, max(0, wanted - len(audio))))
