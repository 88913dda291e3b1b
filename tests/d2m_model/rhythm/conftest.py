"""A small rhythm that has learnt, for the tests of what it hears and of its stage."""

from pathlib import Path

import pytest

from d2m_model.rhythm import music_beats as trackers
from d2m_model.rhythm.model import RhythmModel
from d2m_model.rhythm.params import Params
from d2m_model.rhythm.stage import beats_of_music, training_examples
from d2m_model.rhythm.training import train
from tests.helpers.builders import build_shards

SMALL = {
    "width": 16,
    "blocks": 4,
    "dropout": 0.0,
    "steps": 150,
    "batch": 8,
    "seconds": 3.0,
    "log_every": 10,
    "draws": 100,
}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> tuple[Path, RhythmModel]:
    """A folder of shards of dancers that dip at every click, and a rhythm learnt from beats tracked in their music."""
    shards = tmp_path_factory.mktemp("shards")
    splits = {"train": build_shards(shards, clips=5, seconds=8)}
    music = beats_of_music(splits, None, trackers.librosa_beats)
    net, curves = train(training_examples(splits["train"], "pose", music), Params(**SMALL))
    assert curves.rows[-1]["beat"] < 0.7 * curves.rows[0]["beat"]
    return shards, RhythmModel(net)
