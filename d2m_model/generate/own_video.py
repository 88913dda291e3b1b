"""Reads any dance video like the corpus's clips: the same normalisation, and pose and visual features from the same weights."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_model.generate.own_pose import DEMO, ENOUGH, networks
from d2m_model.generate.pose_files import ReadPose
from dataset_tools.clips.params import Params as ClipsParams
from dataset_tools.i3d.params import Params as I3dParams
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import FPS, seconds_to_frames
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.shard_io.shard_format import I3D_WIDTH
from dataset_tools.pose.params import ANNOTATED
from dataset_tools.pose.params import Params as PoseParams

CLIP = "clip.mp4"  # name of the normalised video
WINDOW = 2 * FPS  # frames per window of the visual features


@dataclass(frozen=True, kw_only=True)
class Posed:
    """The dancers of one video."""

    pose: np.ndarray
    """(T, P, J, 3) float32: x px, y px, confidence, at 30 fps; dancer 0 is the primary one."""
    size: tuple[int, int]
    """Width and height in px of the picture."""
    begin: float
    """Time of frame 0 in seconds of the video's clock."""

    @property
    def coverage(self) -> float:
        """Share of the frames in which the primary dancer was seen."""
        return float((self.pose[:, 0, :, 2] > 0).any(axis=1).mean())


@dataclass(frozen=True, kw_only=True)
class VideoDance(Posed):
    """The dancers and the visual features of one video."""

    visual: np.ndarray
    """(W, 2048) float32: row w is for the window that starts at second w; at least one row."""


def read_dance(video: Path, scratch: Path, layout: Layout, given: ReadPose | None = None) -> VideoDance:
    """Normalise a video into the folder `scratch`, find its dancers and compute its visual features, with the weights and settings
    of params.yaml. given: a pose to use instead of finding the dancer, cut to the video's length.

    Raises UserError for an unreadable video, and for missing weights or parameters.
    """
    from dataset_tools.i3d.visual_features import load_visual_features
    from dataset_tools.lib.video.clip_reader import read_clip

    posed = read_posed(video, scratch, layout, given)
    features = load_visual_features(load_params(layout.params, "i3d", I3dParams), layout)
    frames = len(posed.pose)
    visual = features(
        held(progress(read_clip(scratch / CLIP, frames), "visual features", frames, unit="frame"), WINDOW)
    )
    return VideoDance(pose=posed.pose, size=posed.size, visual=visual, begin=posed.begin)


def read_posed(
    video: Path,
    scratch: Path,
    layout: Layout,
    given: ReadPose | None = None,
    *,
    any_estimator: bool = False,
    stage: str = "generate",
) -> Posed:
    """Normalise a video into the folder `scratch` and find its dancers, with the weights and settings of params.yaml. given: a pose
    to use instead, cut to the video's length. any_estimator: the model reads poses of any estimator, like the rhythm model, so
    the weights are those of `own_pose.networks`. stage: prefix of the messages.

    Raises UserError as `read_dance`.
    """
    from dataset_tools.clips.normalise import normalise_video
    from dataset_tools.lib.video.clip_reader import read_clip
    from dataset_tools.lib.video.video_io import nearest_frame_time, timed_frames
    from dataset_tools.pose.estimator import PoseEstimator
    from dataset_tools.pose.tracking import track

    clips, posing = load_params(layout.params, "clips", ClipsParams), load_params(layout.params, "pose", PoseParams)
    clip = scratch / CLIP
    made = normalise_video(video, clip, max_height=clips.max_height, crop=clips.crop, audio=False)
    _check_frames(video, made.frames)
    if made.damaged:
        say(
            stage,
            f"warning: {made.damaged} of {made.frames} frames of {video.name} are damaged, or depend on a damaged one",
        )

    begin = nearest_frame_time(timed_frames(video), 0.0)
    if given is not None:
        return Posed(pose=_as_long(given.pose, made.frames)[:, None], size=given.size, begin=begin)
    kept = {"max_people": posing.max_people, "gap_frames": posing.gap_frames, "min_frames": posing.min_frames}
    best: Posed | None = None
    for network in networks(layout, posing.weights, posing.layout, posing.long_edge, any_estimator=any_estimator):
        estimator = PoseEstimator(
            network.path, long_edge=network.long_edge, layout=posing.layout, batch_size=posing.batch_size
        )
        people = estimator.find_people(
            estimator.start(progress(read_clip(clip, made.frames), "pose", made.frames, unit="frame"))
        )
        posed = Posed(pose=track(people, made.width, made.height, **kept), size=(made.width, made.height), begin=begin)
        best = max(best or posed, posed, key=lambda p: p.coverage)
        if best.coverage >= ENOUGH:
            return best
    if Path(network.path).stem == DEMO:
        say(
            stage,
            f"warning: the demo's pose weights look for rendered dancers and saw the dancer of {video.name} in {posed.coverage:.0%} of the frames; --pose takes another estimator's",
        )
    assert best is not None  # `networks` gives at least one
    return best


def frames_of(video: Path) -> int:
    """Number of frames at 30 fps that `read_posed` would find, from the time stamps only. Raises UserError for fewer than two."""
    from dataset_tools.lib.video.media import read_timeline

    return _check_frames(video, seconds_to_frames(read_timeline(video).end))


def _check_frames(video: Path, frames: int) -> int:
    if frames < 2:
        raise UserError(f"{video}: holds a single picture, and a dance needs several")
    return frames


def dance_of_pose(given: ReadPose) -> VideoDance:
    """The dance of a pose file without a video; its visual features are all zero."""
    return VideoDance(pose=given.pose[:, None], size=given.size, visual=np.zeros((1, I3D_WIDTH), np.float32), begin=0.0)


def _as_long(pose: np.ndarray, frames: int) -> np.ndarray:
    """A pose (T, J, 3) brought to (frames, J, 3): cut, or padded with frames without a dancer."""
    out = np.zeros((frames, *pose.shape[1:]), np.float32)
    out[: len(pose)] = pose[:frames]
    return out


def inputs_of_settings(layout: Layout) -> dict[str, str]:
    """Attributes of the dances that `read_dance` reads, named as in shards (`music_model.INPUTS`)."""
    return pose_inputs(layout) | {"i3d_weights": visual_input(layout)}


def pose_inputs(layout: Layout) -> dict[str, str]:
    """Those attributes that concern the pose. Raises UserError for missing weights, and for a file without a network."""
    posing = load_params(layout.params, "pose", PoseParams)
    if posing.weights == ANNOTATED:
        raise UserError(
            f"{layout.params}: pose.weights is '{ANNOTATED}', and a video of your own has no annotations; name a network"
        )
    return {"pose_layout": posing.layout, "pose_weights": _named(posing.weights, layout)}


def visual_input(layout: Layout) -> str:
    """The value of the attribute `i3d_weights` for `read_dance`."""
    files = load_params(layout.params, "i3d", I3dParams).files
    return "+".join(dict.fromkeys(_named(weights, layout) for weights in files))


def _named(weights: str, layout: Layout) -> str:
    return f"{Path(weights).stem}@{file_sha256(locate(weights, layout))[:8]}"


def held(frames: Iterable[np.ndarray], least: int) -> Iterator[np.ndarray]:
    """The frames; if there are fewer than `least`, the last one is repeated."""
    count = 0
    for frame in frames:
        count += 1
        yield frame
    for _ in range(least - count if count else 0):
        yield frame
