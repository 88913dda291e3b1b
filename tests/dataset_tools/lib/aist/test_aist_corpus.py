"""A small folder as a user of AIST++ has it, through `sources`: what is there is used, what is missing is said."""

import pickle

import numpy as np
import pytest

from dataset_tools.clips import __main__ as clips
from dataset_tools.download import __main__ as download
from dataset_tools.lib.aist.corpus import add_validation_clips, list_files, prepare_corpus, read_annotated_pose
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.pose import __main__ as pose
from dataset_tools.sources import __main__ as sources
from tests.helpers.footage import numbered_video, tone

NAMES = ["gBR_sBM_c01_d04_mBR0_ch02", "gHO_sBM_c01_d20_mHO5_ch08", "gJB_sFM_c01_d07_mJB1_ch01"]
FRAMES = 131  # at 60 fps: 65 whole frames at 30


@pytest.fixture
def layout(tmp_path):
    folder = tmp_path / "manifests" / "aist"
    folder.mkdir(parents=True)
    songs = [name.split("_")[4] for name in NAMES]
    (folder / "videos.csv").write_text("video_id,url\n" + "".join(f"{n},\n" for n in NAMES))
    rows = "".join(f"{n},{n},{s},,,train\n" for n, s in zip(NAMES, songs, strict=True))
    (folder / "clips.csv").write_text("clip_id,video_id,song_id,start,end,official_split\n" + rows)
    (folder / "songs.csv").write_text("song_id,genre\n" + "".join(f"{s},g{s[1:3]}\n" for s in songs))
    downloads = tmp_path / "external"
    rng = np.random.default_rng(0)
    for name in NAMES:
        sequence = name.replace("_c01_", "_cAll_")
        numbered_video(downloads / "videos" / f"{name}.mp4", 60, 1.0)
        motion = {
            "smpl_poses": rng.normal(size=(FRAMES, 72)),
            "smpl_trans": np.ones((FRAMES, 3)),
            "smpl_scaling": np.ones(1),
        }
        points = {"keypoints2d": rng.uniform(0, 1, (9, FRAMES, 17, 3))}
        for kind, content in (("motions", motion), ("keypoints2d", points)):
            (downloads / kind).mkdir(exist_ok=True)
            (downloads / kind / f"{sequence}.pkl").write_bytes(pickle.dumps(content))
    (tmp_path / "params.yaml").write_text("sources: {annotated: external}\n")
    return Layout(root=tmp_path, corpus="aist")


def test_sources_links_videos_and_writes_annotations_and_times(layout):
    assert sources.main(["--corpus", "aist", "--root", str(layout.root)]) == 0
    target = layout.stage("sources")
    made = load_manifest(target)
    assert [v.url for v in made.videos] == [f"media/{n}.mp4" for n in NAMES]
    assert all((target / v.url).is_file() for v in made.videos)
    assert {(c.start, c.end) for c in made.clips} == {(0.0, 65 / 30)}
    held = np.load(target / "annotations" / f"{NAMES[0]}.npz", allow_pickle=False)
    assert held["motion"].shape == (130, 219) and held["keypoints"].shape == (130, 17, 3)
    assert held["size"].tolist() == [1920, 1080]


def test_what_is_missing_costs_its_own_clip_only(layout, capsys):
    external = layout.root / "external"
    (external / "videos" / f"{NAMES[0]}.mp4").unlink()
    (external / "ignore_list.txt").write_text(NAMES[1].replace("_c01_", "_cAll_") + "\n")
    assert sources.main(["--corpus", "aist", "--root", str(layout.root)]) == 0
    said = capsys.readouterr().out
    assert (
        f"{NAMES[0]}: no video" in said
        and "videos/: 2 of 3 files" in said
        and f"{NAMES[1]}: is in ignore_list.txt" in said
    )
    assert "train: 1 of 3 clips, 1 whole segments of 2 s" in said and "; the authors' lists" not in said
    assert "val: " not in said
    rows = (layout.stage("sources") / "annotated.csv").read_text().splitlines()
    assert rows[1:] == [
        f"{NAMES[0]},failed,no video",
        f"{NAMES[1]},failed,is in ignore_list.txt: its annotations failed",
        f"{NAMES[2]},ok,",
    ]
    made = load_manifest(layout.stage("sources"))
    assert [v.url for v in made.videos] == ["", "", f"media/{NAMES[2]}.mp4"]
    assert [c.start for c in made.clips] == [None, None, 0.0]


def test_lengths_are_compared_with_the_published_lists(layout, capsys):
    lines = (layout.manifest / "clips.csv").read_text().splitlines()
    (layout.manifest / "clips.csv").write_text(
        "\n".join([lines[0] + ",segments_2s", *(f"{line},{n}" for n, line in enumerate(lines[1:]))]) + "\n"
    )
    assert sources.main(["--corpus", "aist", "--root", str(layout.root)]) == 0
    assert (
        "train: 3 of 3 clips, 3 whole segments of 2 s; the authors' lists have 3 of these clips"
        in capsys.readouterr().out
    )


def test_a_folder_with_nothing_is_an_error(layout):
    manifest = load_manifest(layout.manifest)
    with pytest.raises(UserError, match="no such folder; put the downloads"):
        prepare_corpus(manifest, layout.root / "nowhere", layout.stage("sources"))
    (layout.root / "empty").mkdir()
    with pytest.raises(UserError, match="nothing usable for any of 3 clips; videos/: 0 of 3 files, no such folder"):
        prepare_corpus(manifest, layout.root / "empty", layout.stage("sources"))


def test_validation_clips_come_from_the_users_list(layout):
    manifest = load_manifest(layout.manifest)
    folder = layout.root / "external"
    assert add_validation_clips(manifest, folder)[1] == [
        f"{folder / 'splits' / 'crossmodal_val.txt'} not found: no validation clips"
    ]
    (folder / "splits").mkdir()
    new = "gWA_sBM_cAll_d25_mWA0_ch04"
    (folder / "splits" / "crossmodal_val.txt").write_text(
        f"{new}\n{new}\nholiday\n{NAMES[0].replace('_c01_', '_cAll_')}\n"
    )
    made, problems = add_validation_clips(manifest, folder)
    (clip,) = (c for c in made.clips if c.official_split == "val")
    assert (clip.clip_id, clip.song_id) == ("gWA_sBM_c01_d25_mWA0_ch04", "mWA0") and made.songs[-1].tempo == 80
    assert len(made.videos) == 4 and len(problems) == 2 and "is a train clip of the manifest" in problems[1]


def test_files_of_other_names_are_pointed_out(layout):
    videos = layout.root / "external" / "videos"
    (videos / f"{NAMES[0]}.mp4").rename(videos / f"{NAMES[0].replace('_c01_', '_c02_')}.mp4")
    said = list_files(load_manifest(layout.manifest), layout.root / "external")
    assert (
        said[0]
        == f"videos/: 2 of 3 files ({NAMES[0]}.mp4 is missing, {NAMES[0].replace('_c01_', '_c02_')}.mp4 is not needed)"
    )
    assert said[1:] == ["motions/: 3 of 3 files", "keypoints2d/: 3 of 3 files"]


@pytest.mark.parametrize(
    "video, said", [("holiday", "is not a name of AIST"), ("gBR_sBM_cAll_d04_mBR0_ch02", "all cameras")]
)
def test_a_video_of_another_name_costs_its_own_clip_only(layout, video, said):
    for name in ("videos.csv", "clips.csv"):
        path = layout.manifest / name
        path.write_text(path.read_text().replace(NAMES[0], video))
    made = prepare_corpus(load_manifest(layout.manifest), layout.root / "external", layout.stage("sources"))
    assert "2 of 3 clips usable" in made.messages and [said in reason for reason in made.unusable.values()] == [True]


def test_annotations_of_two_lengths_are_refused(layout):
    path = layout.root / "external" / "keypoints2d" / f"{NAMES[0].replace('_c01_', '_cAll_')}.pkl"
    path.write_bytes(pickle.dumps({"keypoints2d": np.zeros((9, 90, 17, 3))}))
    made = prepare_corpus(load_manifest(layout.manifest), layout.root / "external", layout.stage("sources"))
    assert (
        "2 of 3 clips usable" in made.messages
        and list(made.unusable) == [NAMES[0]]
        and "has 131 frames" in made.unusable[NAMES[0]]
    )


def test_published_manifest_counts():
    """The cross-modal split as the paper's authors list it: 980 + 20 videos, 50 + 10 pieces of music, none in both."""
    from dataset_tools.lib.core.layout import PROJECT

    made = load_manifest(PROJECT / "manifests" / "aistpp")
    by_split = {s: [c for c in made.clips if c.official_split == s] for s in ("train", "test")}
    assert {s: len(c) for s, c in by_split.items()} == {"train": 980, "test": 20}
    music = {s: {c.song_id for c in clips} for s, clips in by_split.items()}
    assert (len(music["train"]), len(music["test"]), music["train"] & music["test"]) == (50, 10, set())
    assert len({song.genre for song in made.songs}) == 10


def test_annotated_pose_is_every_second_frame_in_the_pixels_of_the_clip(tmp_path):
    points = np.zeros((8, 17, 3), np.float32)
    points[:, 0] = [[960 + 8 * t, 540, 0.5] for t in range(8)]
    points[:, 1] = [100, 540, 1]  # left of the kept part
    np.savez(tmp_path / "a.npz", keypoints=points, size=np.array([1920, 1080]))
    half = {"source": (960, 540), "crop": (240, 0, 480, 540), "size": (240, 270)}
    pose = read_annotated_pose(tmp_path / "a.npz", 4, 2, **half)
    assert pose.shape == (4, 2, 17, 3) and not pose[:, 1].any()
    assert pose[:, 0, 0].tolist() == [[120 + 4 * t, 135, 0.5] for t in range(4)]
    assert not pose[:, 0, 1:].any()
    with pytest.raises(UserError, match="4 annotated frames at 30 fps, but the clip has 5"):
        read_annotated_pose(tmp_path / "a.npz", 5, 2, **half)
    (tmp_path / "b.npz").write_bytes(b"no")
    with pytest.raises(UserError, match="b.npz: no annotated keypoints"):
        read_annotated_pose(tmp_path / "b.npz", 5, 2, **half)


def test_annotated_clips_pass_through_clips_and_pose_without_a_network(layout):
    (layout.root / "params.yaml").write_text(
        "sources: {annotated: external}\ndownload: {sleep_min: 0, sleep_max: 0, sleep_requests: 0}\n"
        "clips: {crop: false, workers: 1}\npose: {weights: annotated, workers: 1, max_people: 1, min_coverage: 0}\n"
    )
    order = ["--corpus", "aist", "--root", str(layout.root)]
    for name in NAMES:
        numbered_video(layout.root / "external" / "videos" / f"{name}.mp4", 60, 2.2, audio=tone(2.2))
    for stage in (sources, download, clips, pose):
        assert stage.main(order) == 0
    made = np.load(layout.stage("pose") / f"{NAMES[0]}.npy", allow_pickle=False)
    assert made.shape == (65, 1, 17, 3) and made[..., 2].any()
    motion, held = (
        np.load(p, allow_pickle=False)
        for p in (
            layout.stage("pose") / f"{NAMES[0]}.motion.npy",
            layout.stage("sources") / "annotations" / f"{NAMES[0]}.npz",
        )
    )
    np.testing.assert_array_equal(motion, held["motion"].reshape(65, 2, 219))
