"""A corpus whose annotations are not known yet, for the tests of annotation sheets."""

import pytest

from dataset_tools.lib.core import schema
from tests.helpers.builders import build_manifest


@pytest.fixture
def corpus(tmp_path):
    """A corpus of 4 clips, 0 and 2 of compilation a, 1 and 3 of b, whose urls, times and dancers are not known yet."""
    clips = [
        schema.Clip(clip_id=f"{'ab'[n % 2]}_{n // 2}_{n}", video_id="ab"[n % 2], song_id=str(n // 2)) for n in range(4)
    ]
    videos = [schema.Video(video_id=v, url="") for v in "ab"]
    return build_manifest(tmp_path, "mine", clips=clips, videos=videos)
