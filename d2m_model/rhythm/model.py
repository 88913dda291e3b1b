"""A trained rhythm model: from keypoints or SMPL motion to beats, down-beats, strengths and style."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from d2m_model.nets.motion_features import mirrored_motion
from d2m_model.rhythm.augment import in_mirror
from d2m_model.rhythm.beats_file import MOST_SECONDS, Beats, tempo_of
from d2m_model.rhythm.body import motion_features, pose_features, read_motion, read_pose
from d2m_model.rhythm.net import RhythmNet
from d2m_model.rhythm.tracking import at_beats, track_beats, track_downbeats
from d2m_model.training import checkpoint
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import require
from dataset_tools.lib.core.timebase import FPS, frames_to_seconds

KIND, VERSION = "rhythm", 1


class Activations(NamedTuple):
    """The network's output for a dance of T frames at 30 per second, as probabilities within 0..1."""

    beats: np.ndarray
    """(T,)."""
    downbeats: np.ndarray
    """(T,)."""
    strength: np.ndarray
    """(T,): strength of a beat at this frame."""
    pooled: torch.Tensor
    """(2, 2·W): input of the style classifier, for the dance and its mirror image."""


class RhythmModel:
    """A trained `net`, in evaluation mode, on the CPU. `stream` is its input: 'pose' or 'motion'."""

    def __init__(self, net: RhythmNet):
        self.net, self.stream, self.genres = net.eval(), net.stream, net.genres

    def beats_of(self, pose: np.ndarray, fps: float = FPS) -> Beats:
        """Beats of one dancer's keypoints (T, J, 3): x px, y px, confidence (missing = 0) of COCO's 17 or OpenPose's 25
        joints, at `fps` frames per second; the third column is optional.

        Raises UserError for another shape or frame rate, and for a model of SMPL motion; ValueError for a dance that is longer
        than `Beats` allows.
        """
        seconds = len(pose) / fps if fps > 0 else 0.0
        require(
            seconds <= MOST_SECONDS, f"seconds must be above 0 and at most {MOST_SECONDS:g}, found {seconds:g}"
        )  # checked before the network runs
        return self._beats(self.activations(pose, fps), fps, seconds)

    def beats_of_motion(self, motion: np.ndarray) -> Beats:
        """Beats of SMPL motion (T, R, 219), R steps per frame at 30 frames per second. Raises UserError for another shape, and
        for a model of keypoints."""
        return self._beats(self.activations_of_motion(motion), FPS, frames_to_seconds(len(motion)))

    def activations(self, pose: np.ndarray, fps: float = FPS) -> Activations:
        """Activations of keypoints; arguments and errors as for `beats_of`."""
        self._require("pose", "keypoints")
        dance = read_pose(pose, fps)
        return self._activations(pose_features(torch.stack([dance, in_mirror(dance)])))

    def activations_of_motion(self, motion: np.ndarray) -> Activations:
        """Activations of SMPL motion; arguments and errors as for `beats_of_motion`."""
        self._require("motion", "SMPL motion")
        dance = read_motion(motion)
        return self._activations(
            motion_features(torch.stack([dance, torch.from_numpy(mirrored_motion(dance.numpy()))]))
        )

    def _require(self, stream: str, words: str) -> None:
        if self.stream != stream:
            raise UserError(
                f"rhythm: this model reads the stream '{self.stream}', and this dance is {words}; train one with rhythm.stream: {stream}"
            )

    @torch.no_grad()
    def _activations(self, features: torch.Tensor) -> Activations:
        """Mean activations over a dance and its mirror image, which have the same beats; features (2, T, C) of both."""
        output = self.net(features)
        beats, downbeats = torch.sigmoid(output.beats.mean(dim=0)).T.numpy().astype(float)
        return Activations(
            beats, downbeats, torch.sigmoid(output.strength.mean(dim=0)).numpy().astype(float), output.pooled
        )

    @torch.no_grad()
    def _beats(self, found: Activations, fps: float, seconds: float) -> Beats:
        beats = track_beats(found.beats)
        beats = beats[(beats >= 0) & (beats <= seconds)]
        tempo = tempo_of(beats)
        style = {}
        if self.genres:
            tempos = torch.full((len(found.pooled),), float(tempo or 0))
            chances = torch.softmax(self.net.style(found.pooled, tempos), dim=-1).mean(dim=0)
            style = dict(zip(self.genres, chances.tolist(), strict=True))
        return Beats(
            fps=fps, seconds=seconds, beats=beats, downbeats=track_downbeats(found.downbeats, beats),
            strength=at_beats(found.strength, beats) if len(beats) else np.zeros(0), tempo=tempo, style=style,
        )  # fmt: skip


def save_rhythm(path: Path, net: RhythmNet) -> None:
    """Write a network, complete or absent."""
    checkpoint.save(path, KIND, VERSION, {"net": net.state_dict()}, net.sizes)


def load_rhythm(path: Path) -> RhythmModel:
    """The model of a model.pt of the stage `rhythm`. Raises UserError for a missing, damaged or unfit file."""
    content = checkpoint.load(path, KIND, VERSION)
    with checkpoint.user_errors(path):
        checkpoint.string_tuple(content.meta["genres"])
        return RhythmModel(
            checkpoint.build_network(lambda: RhythmNet(**content.meta), content.state["net"]).requires_grad_(False)
        )
