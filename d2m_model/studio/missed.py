"""Tells where the demo's pose weights stood in for the published ones."""

import filecmp
from pathlib import Path

from d2m_model.generate.own_pose import DEMO, PUBLISHED
from d2m_model.generate.params import AUTO
from d2m_model.generate.params import Params as GenerateParams
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.pose.params import Params as PoseParams


def weights_missed(layout: Layout, used: str, video: Path) -> str | None:
    """Name of the published weights that would have found the dancers of `video`, if the demo's were used in their place. used: name
    of the weights that were used.

    None where other weights were used, where params.yaml asks for the demo's, where the published ones are in place and saw less, and
    for a clip of the corpus, which itself was made with these weights.
    """
    asked = load_params(layout.params, "generate", GenerateParams).pose_weights
    better = PUBLISHED.get(load_params(layout.params, "pose", PoseParams).layout)
    if (
        used != DEMO
        or asked != AUTO
        or (layout.root / "weights" / f"{better}.pkl").is_file()
        or _is_clip(layout, video)
    ):
        return None
    return better


def _is_clip(layout: Layout, video: Path) -> bool:
    """Whether a video is a copy of a clip of the corpus, by its content."""
    return any(filecmp.cmp(clip, video, shallow=False) for clip in layout.stage("clips").glob("*.mp4"))
