"""The streams of one clip, from the files of the stages before `shards`: whether and how they fit together, and their numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_tools.lib.core.limits import MAX_SHOWN
from dataset_tools.lib.core.timebase import FPS, SAMPLES_PER_FRAME, window_starts
from dataset_tools.lib.shard_io.shard_format import MAX_FRAMES, MAX_PEOPLE, ShardClip, check_numbers
from dataset_tools.lib.shard_io.stream_files import count_audio_frames, read_audio, read_i3d, read_motion, read_pose


@dataclass(frozen=True, kw_only=True)
class ClipStreams:
    """One clip of a shard, with everything that a worker process needs."""

    clip_id: str
    song: str
    genre: str
    split: str
    width: int
    height: int
    frames: int
    """Number of frames in clips/rows.csv."""
    folders: Mapping[str, Path]
    """Stream -> folder of the stage that makes it."""
    has_motion: bool
    """Only some corpora have body motion."""

    @property
    def pose(self) -> Path:
        """The keypoints."""
        return self.folders["pose"] / f"{self.clip_id}.npy"

    @property
    def i3d(self) -> Path:
        """The features."""
        return self.folders["i3d"] / f"{self.clip_id}.npy"

    @property
    def audio(self) -> Path:
        """The music."""
        return self.folders["audio"] / f"{self.clip_id}.wav"

    @property
    def motion(self) -> Path:
        """The body motion, if it has one."""
        return self.folders["pose"] / f"{self.clip_id}.motion.npy"

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read. As strings: of many clips, paths take longer to make than to look at."""
        pose, i3d, audio = (f"{self.folders[name]}/{self.clip_id}" for name in ("pose", "i3d", "audio"))
        return (f"{pose}.npy", f"{i3d}.npy", f"{audio}.wav", *([f"{pose}.motion.npy"] if self.has_motion else []))


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How the streams of a clip fit together."""

    frames: int = 0
    """Number of frames that all streams have; 0 for a clip that can't be used."""
    reason: str = ""
    """Why it can't be used."""
    people: int = 0
    joints: int = 0
    motion_rate: int = 0
    """Steps per second of the body motion; 0 without motion."""


def measure_fit(streams: ClipStreams, frames_apart: int) -> Fit:
    """Read all streams of a clip. Their lengths may differ by `frames_apart` frames. Raises nothing: a clip that can't be used has the
    reason."""
    name = streams.clip_id
    try:
        found = {"pose": read_pose(streams.pose), "i3d": read_i3d(streams.i3d)}
        if streams.has_motion:
            found["motion"] = read_motion(streams.motion)
        lengths = {"clips": streams.frames} | {word: len(values) for word, values in found.items() if word != "i3d"}
        claimed = count_audio_frames(streams.audio)
        found["audio"] = read_audio(streams.audio)
        lengths["audio"] = min(
            claimed, len(found["audio"]) // SAMPLES_PER_FRAME
        )  # a file may be shorter than its header says
        for word, values in found.items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f"{word}: {name} holds NaN or infinite values; run {'pose' if word == 'motion' else word} again"
                )
            check_numbers(word, values)
        _, people, joints, _ = found["pose"].shape
        if not 1 <= people <= MAX_PEOPLE:
            raise ValueError(f"pose: {name} has {people} people, 1 to {MAX_PEOPLE} fit into a shard")
    except (OSError, ValueError, RuntimeError) as err:
        return Fit(reason=" ".join(str(err).split()))
    except Exception as err:  # noqa: BLE001 - any error of a library on a damaged file fails only its clip
        about = " ".join(str(err).split())[:MAX_SHOWN]
        return Fit(reason=f"streams of {name} are not readable ({type(err).__name__}: {about})")
    if max(lengths.values()) - min(lengths.values()) > frames_apart:
        listed = ", ".join(f"{word} {length}" for word, length in lengths.items())
        return Fit(reason=f"lengths in frames differ by more than {frames_apart}: {listed}")
    frames, windows = min(lengths.values()), len(found["i3d"])
    if not 1 <= frames <= MAX_FRAMES:
        return Fit(reason=f"lengths in frames must be 1 to {MAX_FRAMES}, found {frames}")
    if windows < _count_windows(frames):
        return Fit(reason=f"i3d: {windows} windows for {frames} frames, at least {_count_windows(frames)} are needed")
    rate = FPS * found["motion"].shape[1] if "motion" in found else 0
    return Fit(frames=frames, people=people, joints=joints, motion_rate=rate)


def load_streams(streams: ClipStreams, frames: int, motion_rate: int) -> ShardClip:
    """All streams of a clip, cut to `frames` frames. If `motion_rate` is 0, there is no motion."""
    return ShardClip(
        clip_id=streams.clip_id, song=streams.song, genre=streams.genre, split=streams.split,
        width=streams.width, height=streams.height,
        pose=read_pose(streams.pose)[:frames],
        audio=read_audio(streams.audio, frames),
        i3d=read_i3d(streams.i3d)[: _count_windows(frames)],
        motion=read_motion(streams.motion)[:frames] if motion_rate else None,
    )  # fmt: skip


def _count_windows(frames: int) -> int:
    return max(1, len(window_starts(frames)))
