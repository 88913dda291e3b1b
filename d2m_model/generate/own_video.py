"""Reads any dance video like the corpus's clips: the same normalisation, and pose and visual features from the same weights."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from d2m_model.generate.own_pose import DEMO, ENOUGH, Network, networks
from d2m_model.generate.params import Params
from d2m_model.generate.pose_files import ReadPose, check_dancer, dancers_of
from dataset_tools.clips.params import Params as ClipsParams
from dataset_tools.i3d.params import Params as I3dParams
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.progress import ProgressBar, progress
from dataset_tools.lib.core.timebase import FPS, seconds_to_frames
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.shard_io.shard_format import I3D_WIDTH
from dataset_tools.pose.params import ANNOTATED
from dataset_tools.pose.params import Params as PoseParams

if TYPE_CHECKING:
    from dataset_tools.pose.estimator import PoseEstimator

CLIP = "clip.mp4"  # name of the normalised video
READ_BYTES = 1 << 30  # for decoded frames of a video that is only read: 20 s of 720p, in which panels are detected
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
    weights: str = ""
    """Name of the weights that found them, without suffix; '' for a pose that was given."""

    @property
    def coverage(self) -> float:
        """Share of the frames in which the primary dancer was seen."""
        return _coverage(self.pose)

    def of_dancer(self, dancer: int, path: Path) -> Self:
        """A copy with one dancer, P = 1. path: the video, for the message. Raises UserError as `check_dancer`."""
        check_dancer(path, dancer, dancers_of(self.pose))
        return replace(self, pose=self.pose[:, dancer : dancer + 1])


@dataclass(frozen=True, kw_only=True)
class VideoDance(Posed):
    """The dancers and the visual features of one video."""

    visual: np.ndarray
    """(W, 2048) float32: row w is for the window that starts at second w; at least one row."""


def read_dance(video: Path, scratch: Path, layout: Layout, given: ReadPose | None = None) -> VideoDance:
    """Normalise a video into the folder `scratch`, find its dancers and compute its visual features, with the weights and settings
    of params.yaml: the input of a model that was trained on such poses and features. given: a pose to use instead of finding the
    dancer, cut to the video's length.

    Raises UserError for an unreadable video, and for missing weights or parameters.
    """
    from d2m_model.generate.tee import tee
    from dataset_tools.clips.normalise import cut_span
    from dataset_tools.clips.open_video import OpenVideo
    from dataset_tools.i3d.visual_features import load_visual_features
    from dataset_tools.lib.parallel.prefetch import Feed
    from dataset_tools.lib.video.clip_reader import read_clip

    clips = load_params(layout.params, "clips", ClipsParams)
    cut = cut_span(OpenVideo(video), max_height=clips.max_height, crop=clips.crop, audio=False)
    made = replace(cut, frames=progress(cut.frames, "cut", cut.count, unit="frame")).write(scratch / CLIP)
    _check_frames(video, made.frames)
    _warn_of_damage("generate", video, made.damaged, made.frames)
    features = load_visual_features(load_params(layout.params, "i3d", I3dParams), layout)
    posing = load_params(layout.params, "pose", PoseParams)
    size = made.width, made.height
    reading = progress(read_clip(scratch / CLIP, made.frames), "pose and visual features", made.frames, unit="frame")

    def compute_features(frames: Feed[np.ndarray]) -> np.ndarray:
        try:
            with closing(frames):  # also after an error, or the pose would wait for it
                return features(held(frames, WINDOW))
        except BaseException:
            for_pose.close()  # nobody waits for a pose that is of no use
            raise

    with ThreadPoolExecutor(1) as pool, tee(reading, 2) as (for_pose, for_features):
        visual = pool.submit(compute_features, for_features)
        if given is None:
            network = Network(locate(posing.weights, layout), posing.long_edge)
            try:
                pose = _find_dancers(for_pose, _load(network, posing), posing, size)
            except UserError:
                raise
            except ValueError:  # no frames, perhaps because of an error of the features
                for_pose.close()
                visual.result()
                raise
            _warn_of_demo("generate", video, network, _coverage(pose))
        else:
            for_pose.close()
            pose, size = _as_long(given.pose, made.frames)[:, None], given.size
        used = Path(network.path).stem if given is None else ""
        return VideoDance(pose=pose, size=size, visual=visual.result(), begin=begin_of(video), weights=used)


def read_posed(video: Path, layout: Layout, given: ReadPose | None = None, *, stage: str = "generate") -> Posed:
    """Find a video's dancers for a model that reads poses of any estimator, like the rhythm model: with the weights of
    `own_pose.networks`, in each `generate.pose_every`th frame. The video is decoded once and not encoded. given: a pose to use
    instead, cut to the video's length. stage: prefix of the messages.

    Raises UserError as `read_dance`.
    """
    from dataset_tools.clips.normalise import cut_span
    from dataset_tools.clips.open_video import OpenVideo

    frames = frames_of(video)
    if given is not None:
        return Posed(pose=_as_long(given.pose, frames)[:, None], size=given.size, begin=begin_of(video))
    clips, posing = load_params(layout.params, "clips", ClipsParams), load_params(layout.params, "pose", PoseParams)
    every = load_params(layout.params, "generate", Params).pose_every
    best: Posed | None = None
    for network in networks(layout, posing.weights, posing.layout, posing.long_edge):
        with ThreadPoolExecutor(1) as pool:  # the network is loaded while the first seconds are decoded
            estimator = pool.submit(_load, network, posing)
            cut = cut_span(
                OpenVideo(video, threads=2), max_height=clips.max_height, max_side=network.long_edge and network.long_edge + 1, crop=clips.crop, audio=False,
                every=every, memory=READ_BYTES,
            )  # fmt: skip
            size = cut.facts["width"], cut.facts["height"]
            reading = _counted(cut.read(), frames, every)
            with closing(cut):
                pose = _find_dancers(reading, estimator.result(), posing, size, every)[:frames]
        if best is None:
            _warn_of_damage(stage, video, sum(cut.damaged), cut.count)
        posed = Posed(pose=pose, size=size, begin=begin_of(video), weights=Path(network.path).stem)
        best = max(best or posed, posed, key=lambda p: p.coverage)
        if best.coverage >= ENOUGH:
            return best
    _warn_of_demo(stage, video, network, posed.coverage)
    assert best is not None  # `networks` gives at least one
    return best


def _counted(read: Iterable[np.ndarray], frames: int, every: int) -> Iterator[np.ndarray]:
    """Each `every`th frame of a video, with a bar that counts all `frames`."""
    with ProgressBar(total=frames, desc="pose", unit="frame") as bar:
        for frame in read:
            yield frame
            bar.update(min(every, frames - bar.n))


def _load(network: Network, posing: PoseParams) -> "PoseEstimator":
    from dataset_tools.pose.estimator import PoseEstimator

    return PoseEstimator(network.path, long_edge=network.long_edge, layout=posing.layout, batch_size=posing.batch_size)


def _find_dancers(
    frames: Iterable[np.ndarray], estimator: "PoseEstimator", posing: PoseParams, size: tuple[int, int], every: int = 1
) -> np.ndarray:
    """The pose (T, P, J, 3) of the dancers in each `every`th frame, and between them."""
    from dataset_tools.pose.tracking import track

    people = estimator.find_people(estimator.start(frames))
    kept = {"max_people": posing.max_people, "gap_frames": posing.gap_frames, "min_frames": posing.min_frames}
    return track(people, *size, **kept, every=every)


def begin_of(video: Path) -> float:
    """Time of the dance's frame 0, in seconds of the video's clock."""
    from dataset_tools.lib.video.video_io import nearest_frame_time, timed_frames

    return nearest_frame_time(timed_frames(video), 0.0)


def _warn_of_damage(stage: str, video: Path, damaged: int, frames: int) -> None:
    if damaged:
        say(
            stage,
            f"warning: {damaged} of {frames} frames read from {video.name} are damaged, or depend on a damaged one",
        )


def _warn_of_demo(stage: str, video: Path, network: Network, coverage: float) -> None:
    if Path(network.path).stem == DEMO and coverage < ENOUGH:
        other = "; --pose takes the pose of another estimator" if stage == "generate" else ""
        say(
            stage,
            f"warning: the demo's pose weights, trained on rendered dancers, saw the dancer of {video.name} in {coverage:.0%} of the frames{other}",
        )


def _coverage(pose: np.ndarray) -> float:
    return float((pose[:, 0, :, 2] > 0).any(axis=1).mean())


def frames_of(video: Path) -> int:
    """Number of frames at 30 fps that `read_posed` would find, from the time stamps only. Raises UserError for fewer than two."""
    from dataset_tools.lib.video.media import read_timeline

    return _check_frames(video, seconds_to_frames(read_timeline(video).end))


def _check_frames(video: Path, frames: int) -> int:
    if frames < 2:
        raise UserError(f"{video}: has a single frame, and a dance needs several")
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
