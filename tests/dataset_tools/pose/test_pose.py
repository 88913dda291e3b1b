"""The pose stage: one row per clip whatever became of it, equal bytes every time, and nothing done twice."""

import multiprocessing

import numpy as np
import pytest
import yaml

from dataset_tools.clips.rows import ClipRow
from dataset_tools.demo.render.scene import Scene, render
from dataset_tools.demo.train.training_frames import random_motion
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import DANCERS
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.schema import read_records, write_records
from dataset_tools.lib.parallel import worker_process
from dataset_tools.lib.video.video_io import read_rgb, rgb_frames, write_clip
from dataset_tools.pose import __main__ as pose_command
from dataset_tools.pose import stage as pose
from dataset_tools.pose.overlay import COLOURS, draw_dancers
from dataset_tools.pose.params import Params
from dataset_tools.pose.rows import PoseRow
from tests.helpers.builders import build_manifest, cut_row

WIDTH, HEIGHT, FRAMES = 160, 256, 8
PARAMS = {"weights": "pose_demo", "batch_size": 4, "max_people": 2, "workers": 1, "min_ok": 0.0}


@pytest.fixture(autouse=True)
def quick_processes(monkeypatch):
    """The stage works in processes of its own: let them find the heavy libraries already imported."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["dataset_tools.pose.estimator"])
    monkeypatch.setattr(worker_process, "START_METHOD", "forkserver")


@pytest.fixture(scope="module")
def dance():
    """Frames (T, H, W, 3) uint8 of one dancer who faces the camera, and the true joints (T, 17, 3)."""
    rng = np.random.default_rng(8)
    scene = Scene.random(rng, WIDTH, HEIGHT, 1)
    pictures = [render(scene, a[None]) for a in random_motion(rng, np.arange(FRAMES) / 30)]
    return np.array([image for image, _ in pictures]), np.array([joints[0] for _, joints in pictures])


@pytest.fixture
def layout(tmp_path, dance):
    """A corpus of four clips: one to pose, one without people, one shorter than its row says, one lost before."""
    build_manifest(tmp_path, "tiny")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"pose": PARAMS}))
    layout = Layout(root=tmp_path, corpus="tiny")
    folder = layout.stage("clips")
    folder.mkdir(parents=True)
    wall = np.full((FRAMES, HEIGHT, WIDTH, 3), 90, np.uint8)
    for name, images in (("dance", dance[0]), ("empty", wall), ("short", wall[:5])):
        write_clip(folder / f"{name}.mp4", rgb_frames(images), None)
    size = {"frames": FRAMES, "width": WIDTH, "height": HEIGHT}
    rows = [cut_row(name, **size) for name in ("dance", "empty", "short")]
    write_records(folder / "rows.csv", [*rows, cut_row("gone", "permanent", reason="video is private")])
    return layout


def run(layout: Layout) -> int:
    return pose_command.main(["--corpus", layout.corpus, "--root", str(layout.root)])


def results(layout: Layout) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(layout.stage("pose").iterdir())}


def test_every_clip_has_a_row_and_a_second_run_does_nothing(layout, dance, capsys, monkeypatch):
    assert run(layout) == 0
    assert "pose: 1 of 4 ok, 1 dropped, 1 failed, 1 permanent, 1 dancers" in capsys.readouterr().out
    rows = {row.id: row for row in read_records(layout.stage("pose") / "rows.csv", PoseRow)}
    assert {name: row.status for name, row in rows.items()} == {
        "dance": "ok",
        "empty": "dropped",
        "short": "failed",
        "gone": "permanent",
    }
    assert (
        rows["dance"].people == 1 and rows["dance"].coverage == 1.0 and rows["dance"].weights.startswith("pose_demo@")
    )
    assert "no person found" in rows["empty"].reason and rows["gone"].reason == "video is private"
    assert rows["short"].reason == "short.mp4: 5 frames, but clips/rows.csv says 8"

    first = results(layout)
    assert set(first) == {"dance.npy", "rows.csv"}
    found = np.load(layout.stage("pose") / "dance.npy", allow_pickle=False)
    assert found.shape == (FRAMES, 2, 17, 3) and found.dtype == np.float32 and not found[:, 1].any()
    truth = dance[1]
    seen = truth[..., 2] == 2
    error = np.linalg.norm(found[:, 0, :, :2] - truth[..., :2], axis=-1)[seen]
    assert np.median(error) < 3 and (error < 0.1 * np.ptp(truth[0, :, 1])).mean() > 0.9  # px; PCK@0.1

    # killed after the clips were posed: everything published is gone, the cache is not
    (layout.stage("pose") / "dance.npy").unlink()
    (layout.stage("pose") / "rows.csv").unlink()
    (layout.stage("pose") / "stale.npy").write_bytes(b"of a clip that is no more")
    monkeypatch.setattr(pose, "_estimator", None)  # posing again would fail
    write_records(
        layout.stage("clips") / "rows.csv",
        [r for r in read_records(layout.stage("clips") / "rows.csv", ClipRow) if r.id != "short"],
    )
    assert run(layout) == 0
    again = results(layout)
    assert again["dance.npy"] == first["dance.npy"] and set(again) == set(first)


def test_min_coverage_zero_keeps_a_clip_without_people_as_zeros(layout):
    (layout.root / "params.yaml").write_text(yaml.safe_dump({"pose": PARAMS | {"min_coverage": 0.0}}))
    assert run(layout) == 0
    rows = {row.id: row for row in read_records(layout.stage("pose") / "rows.csv", PoseRow)}
    assert rows["empty"].status == "ok" and rows["empty"].people == 0
    assert not np.load(layout.stage("pose") / "empty.npy", allow_pickle=False).any()


@pytest.mark.parametrize("frames", [None, 1])
def test_a_number_of_frames_that_can_not_be_is_that_clips_failure(layout, frames):
    size = {"width": WIDTH, "height": HEIGHT}
    rows = [
        cut_row("empty", frames=FRAMES, **size),
        cut_row("short", frames=frames, **size),
    ]
    write_records(layout.stage("clips") / "rows.csv", rows)
    assert run(layout) == 0
    found = {row.id: row for row in read_records(layout.stage("pose") / "rows.csv", PoseRow)}
    assert found["empty"].status == "dropped" and "clips/rows.csv" in found["short"].reason


def test_too_many_failures_and_bad_input_are_one_line(layout):
    (layout.root / "params.yaml").write_text(yaml.safe_dump({"pose": PARAMS | {"min_ok": 0.5}}))
    with pytest.raises(UserError, match="1 of 4 ok.*pose.min_ok asks for 50%"):
        run(layout)
    (layout.stage("clips") / "dance.mp4").write_bytes(b"no video")
    with pytest.raises(UserError):
        run(layout)
    rows = {row.id: row for row in read_records(layout.stage("pose") / "rows.csv", PoseRow)}
    assert rows["dance"].status == "failed" and "dance.mp4: cannot be decoded" in rows["dance"].reason
    assert "\n" not in rows["dance"].reason and not (layout.stage("pose") / "dance.npy").exists()
    (layout.stage("clips") / "dance.mp4").unlink()
    with pytest.raises(UserError, match="dance.mp4: file not found"):
        run(layout)


def test_overlay_draws_the_dancer_over_the_clip(layout, tmp_path, capsys):
    assert run(layout) == 0
    out = tmp_path / "overlay.mp4"
    common = ["--corpus", layout.corpus, "--root", str(layout.root)]
    assert pose_command.main([*common, "--overlay", "dance", "--out", str(out)]) == 0
    assert f"{out}: 8 frames of dance" in capsys.readouterr().out
    found = np.load(layout.stage("pose") / "dance.npy", allow_pickle=False)
    plain, drawn = (list(read_rgb(p)) for p in (layout.stage("clips") / "dance.mp4", out))
    assert len(drawn) == FRAMES and drawn[0].shape == (2 * HEIGHT, 2 * WIDTH, 3)
    yellow = np.array(COLOURS[0], float)
    for before, after, people in zip(plain, drawn, found, strict=True):
        hip, knee = people[0, 11, :2], people[0, 13, :2]
        x, y = np.rint((hip + knee) / 2).astype(int)  # half way along the left thigh
        nearer = (
            np.abs(before[y, x] - yellow).sum()
            - np.abs(after[2 * y : 2 * y + 2, 2 * x : 2 * x + 2] - yellow).sum(-1).min()
        )
        assert nearer > 100
    for wrong, says in (
        (["--overlay", "dance"], "go together"),
        (["--overlay", "nobody", "--out", str(out)], "no clip 'nobody'"),
        (["--overlay", "empty", "--out", str(out)], "clip 'empty' has no pose: dropped, no person found"),
        (["--overlay", "dance", "--out", str(tmp_path / "x.gif")], "must name an .mp4"),
    ):
        with pytest.raises(UserError, match=says):
            pose_command.main([*common, *wrong])
    assert not (tmp_path / "x.gif").exists()


def test_what_is_surer_is_drawn_stronger():
    grey, people = np.full((480, 100, 3), 90, np.uint8), np.zeros((2, 17, 3), np.float32)
    people[1, 5], people[1, 7] = (20, 100, 1.0), (20, 200, 1.0)
    people[1, 6], people[1, 8] = (60, 100, 0.25), (60, 200, 0.25)
    drawn = draw_dancers(grey, people).astype(int)
    assert grey.min() == 90 and np.array_equal(drawn[150, 20], COLOURS[1])
    assert np.abs(drawn[150, 60] - (90 + 0.25 * (np.array(COLOURS[1]) - 90))).max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"layout": "body18"},
        {"long_edge": 5},
        {"workers": 0},
        {"min_coverage": 2},
        {"gap_frames": -1},
        {"people": 3},
        {"max_people": 0},
        {"max_people": 65},
    ],
)
def test_wrong_parameters_are_named(tmp_path, wrong):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"pose": wrong}))
    with pytest.raises(UserError, match=next(iter(wrong))):
        load_params(tmp_path / "params.yaml", "pose", Params)


def test_as_many_dancers_as_are_kept_can_be_read_back(tmp_path):
    row = PoseRow(id="a", status="ok", people=Params(max_people=DANCERS).max_people, coverage=1.0)
    write_records(tmp_path / "rows.csv", [row], PoseRow)
    assert read_records(tmp_path / "rows.csv", PoseRow) == [row]
