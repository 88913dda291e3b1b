"""The beats that a network is trained on: the corpus's true beats, or beats tracked in the music."""

from dataclasses import dataclass
from pathlib import Path

from d2m_model.rhythm.music_beats import Tracker, beat_this, librosa_beats, require_beat_this
from d2m_model.rhythm.params import Params
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.shard_io.shard_set import ShardSet


@dataclass(frozen=True, kw_only=True)
class BeatsSource:
    """Where the beats of the music come from: a folder of true beats, or a tracker."""

    name: str
    """'truth', 'beat-this' or 'librosa'."""
    truth: Path | None = None
    tracker: Tracker | None = None
    inputs: tuple[Path, ...] = ()
    """Files that the beats depend on, besides the music."""


def beats_source(params: Params, layout: Layout) -> BeatsSource:
    """The source that `rhythm.beats` chooses. Prints why where 'auto' falls back to librosa.

    Raises UserError where a named source is not available.
    """
    truth, shards = layout.stage("sources") / "truth", layout.stage("shards")
    clips = [c.clip_id for s in SPLITS if any(shards.glob(f"{s}-*.h5")) for c in ShardSet(shards, s).clips]
    lacking = next((c for c in clips if not (truth / f"{c}.npz").is_file()), None)
    if params.beats == "truth" and lacking:
        raise UserError(f"{truth}: rhythm.beats is truth, but there is no {lacking}.npz; set it to auto")
    if params.beats in ("truth", "auto") and clips and not lacking:
        return BeatsSource(name="truth", truth=truth, inputs=tuple(truth / f"{c}.npz" for c in clips))
    if params.beats != "librosa":
        try:
            require_beat_this()
            weights = locate(params.beat_this, layout)
            return BeatsSource(name="beat-this", tracker=beat_this(weights), inputs=(weights,))
        except UserError as err:
            if params.beats == "beat-this":
                raise
            say("rhythm", f"beats tracked by librosa, because beat-this is not available: {err}")
    return BeatsSource(name="librosa", tracker=librosa_beats)
