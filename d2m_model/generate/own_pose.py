"""Chooses the networks that find the dancer in the user's own video."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from d2m_model.generate.params import AUTO, Params
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.weights import locate

DEMO = "pose_demo"
PUBLISHED = {"coco17": "pose_k16", "body25": "pose_wholebody_k16"}
"""Pose layout -> OpenPifPaf's published weights for it (manifests/weights.csv)."""
PUBLISHED_EDGE = 385
"""Longer side in px of frames for the published weights, which were trained on crops of 385 and 513 px."""
ENOUGH = 0.5
"""Share of frames with a dancer at which no further network is tried."""


UNAVAILABLE = "warning: OpenPifPaf's published weights"
"""How the warning begins that the demo's weights stand in for them."""


class Network(NamedTuple):
    """A pose network and the size of its input frames."""

    path: Path
    long_edge: int
    """Longer side in px to which frames are scaled."""


def networks(layout: Layout, weights: str, pose_layout: str, long_edge: int) -> Iterator[Network]:
    """The networks to try, one after another, until one finds the dancer in the share `ENOUGH` of the frames.

    weights, long_edge: the corpus's own weights, and the size of their frames. `generate.pose_weights` decides which are used. With
    'auto' and the demo's weights, which only know rendered dancers, OpenPifPaf's published weights come first, if they can be
    downloaded. A name or a file means these weights, at the published size.

    Raises UserError for weights that params.yaml names and that are not available.
    """
    wanted = load_params(layout.params, "generate", Params).pose_weights
    if wanted != AUTO:
        yield Network(locate(wanted, layout), long_edge if wanted == weights else PUBLISHED_EDGE)
        return
    if weights == DEMO and (name := PUBLISHED.get(pose_layout)):
        try:
            path = locate(name, layout, attempts=1)
        except UserError as err:
            say(
                "pose",
                f"{UNAVAILABLE} {name} can't be had ({_reason(err)}); the demo's are used instead, which "
                f"only know rendered dancers. To use the published ones, be online or put their file at weights/{name}.pkl",
            )
        else:
            say("pose", f"finding the dancer with OpenPifPaf's published weights {name}")
            yield Network(path, PUBLISHED_EDGE)
            say(
                "pose",
                f"{name} saw the dancer in under {ENOUGH:.0%} of the frames; trying the demo's weights, which were trained on rendered dancers",
            )
    yield Network(locate(weights, layout), long_edge)


def _reason(err: UserError) -> str:
    """What went wrong with a download, without its address and without advice."""
    return str(err).partition(";")[0].rpartition(": ")[2]
