"""Where the studio doubts a pose, because the demo's weights stood in for the published ones."""

import shutil

import pytest

from d2m_model.studio.missed import weights_missed
from tests.helpers.footage import numbered_video


@pytest.mark.parametrize(
    ("settings", "used", "missed"),
    [
        ("generate: {}\npose: {}\n", "pose_demo", "pose_k16"),
        ("generate: {}\npose: {layout: body25}\n", "pose_demo", "pose_wholebody_k16"),
        ("generate: {}\npose: {}\n", "pose_k16", None),
        ("generate: {}\npose: {}\n", "own", None),
        ("generate: {pose_weights: pose_demo}\npose: {}\n", "pose_demo", None),
    ],
)
def test_the_published_weights_are_missed_where_nobody_asked_for_the_demos(layout, tmp_path, settings, used, missed):
    (tmp_path / "params.yaml").write_text(f"corpus: tiny\n{settings}")
    assert weights_missed(layout, used, tmp_path / "video.mp4") == missed


def test_published_weights_that_are_in_place_and_saw_less_are_not_missed(layout, tmp_path):
    (tmp_path / "params.yaml").write_text("corpus: tiny\ngenerate: {}\npose: {}\n")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "pose_wholebody_k16.pkl").touch()
    assert weights_missed(layout, "pose_demo", tmp_path / "video.mp4") == "pose_k16"
    (tmp_path / "weights" / "pose_k16.pkl").touch()
    assert weights_missed(layout, "pose_demo", tmp_path / "video.mp4") is None


def test_clips_of_the_corpus_are_known_by_their_content(layout, tmp_path):
    (tmp_path / "params.yaml").write_text("corpus: tiny\ngenerate: {}\npose: {}\n")
    clips = layout.stage("clips")
    clips.mkdir(parents=True)
    numbered_video(clips / "one.mp4", 30, 1)
    numbered_video(tmp_path / "one.mp4", 30, 2)
    assert weights_missed(layout, "pose_demo", tmp_path / "one.mp4") == "pose_k16"
    shutil.copy(clips / "one.mp4", tmp_path / "two.mp4")
    assert weights_missed(layout, "pose_demo", tmp_path / "two.mp4") is None
