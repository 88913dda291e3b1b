"""shards: what the stages gave is what is written, equal bytes when rebuilt, a row for every clip."""

import csv
import shutil
import time

import numpy as np
import pytest
import soundfile

from dataset_tools.lib.core import file_memo
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.file_memo import FileMemo
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import SHARD_CLIPS
from dataset_tools.lib.core.pack_files import publish_packs
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.shards import __main__ as shards
from dataset_tools.shards import stage
from dataset_tools.shards.clip_streams import measure_fit
from dataset_tools.shards.params import Params
from tests.helpers.builders import build_clip

ODD_HEADER = b"\x93NUMPY\x01\x00\x10\x00{'descr':[((((((('" + bytes(99)
"""Of which numpy raises what is in no list."""
PARAMS = "shards: {max_clips: 2, max_frames_apart: 2, min_ok: 0.5, workers: 1}\n"


def build_stage_inputs(root, clips=5, seconds=3.0):
    """What clips, pose, i3d, audio and split leave behind for synthetic clips; the last clip is the test split."""
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "manifests" / "tiny" / "clips.csv").write_text("")
    (root / "params.yaml").write_text(PARAMS)
    layout = Layout(root=root, corpus="tiny")
    made = [build_clip(n, seconds=seconds, split="test" if n == clips - 1 else "train") for n in range(clips)]
    for word in ("clips", "pose", "i3d", "audio", "split"):
        layout.stage(word).mkdir(parents=True)
    for clip in made:
        np.save(layout.stage("pose") / f"{clip.clip_id}.npy", clip.pose)
        np.save(layout.stage("i3d") / f"{clip.clip_id}.npy", clip.i3d)
        soundfile.write(layout.stage("audio") / f"{clip.clip_id}.wav", clip.audio, 22050, subtype="FLOAT")
    lines = [f"{c.clip_id},ok,,v,{c.song},{c.genre},{len(c.pose)},{c.width},{c.height}" for c in made]
    header = "id,status,reason,video_id,song_id,genre,frames,width,height"
    (layout.stage("clips") / "rows.csv").write_text("\n".join([header, *lines]) + "\n")
    for word in ("pose", "i3d", "audio"):
        lines = [f"{c.clip_id},ok,,{word}-weights" for c in made]
        (layout.stage(word) / "rows.csv").write_text("\n".join(["id,status,reason,weights", *lines]) + "\n")
    lines = [f"{c.clip_id},{c.song},{c.split}" for c in made]
    (layout.stage("split") / "split.csv").write_text("\n".join(["clip_id,song_id,split", *lines]) + "\n")
    return layout, made


def half_an_mp3(path):
    """Audio that ends long before its header says."""
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(66150), 22050, format="MP3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def run_stage(layout):
    return shards.main(["--root", str(layout.root), "--corpus", "tiny"])


def read_rows(layout):
    with open(layout.stage("shards") / "rows.csv", newline="") as handle:
        return {row["id"]: row for row in csv.DictReader(handle)}


def in_rows(layout, old, new):
    """Change what clips/rows.csv says of clip_001."""
    path = layout.stage("clips") / "rows.csv"
    lines = [
        line.replace(old, new) if line.startswith("clip_001,") else line for line in path.read_text().splitlines(True)
    ]
    path.write_text("".join(lines))


def test_stage_round_trip(tmp_path):
    layout, made = build_stage_inputs(tmp_path)
    assert run_stage(layout) == 0
    train, test = (ShardSet(layout.stage("shards"), split) for split in ("train", "test"))
    assert [info.path.name for info in train.infos] == ["train-00000.h5", "train-00001.h5"]
    assert [entry.clip_id for entry in train.clips] == [clip.clip_id for clip in made[:-1]]
    assert [entry.clip_id for entry in test.clips] == [made[-1].clip_id]
    assert (train.info.pose_weights, train.info.i3d_weights) == ("pose-weights", "i3d-weights")
    assert (train.info.pose_layout, train.info.people, train.info.joints) == ("coco17", 2, 17)
    for clip in made[:-1]:
        entry = next(e for e in train.clips if e.clip_id == clip.clip_id)
        assert (entry.song, entry.genre, entry.frames) == (clip.song, clip.genre, 90)
        assert (entry.width, entry.height) == (clip.width, clip.height)
        window = train.read(clip.clip_id)
        assert all(np.array_equal(getattr(window, name), getattr(clip, name)) for name in ("pose", "audio"))
        assert np.array_equal(train.read_i3d(clip.clip_id), clip.i3d)
    assert all(row["status"] == "ok" and row["shard"] for row in read_rows(layout).values())


def test_rebuilt_shards_are_byte_identical(tmp_path):
    layout, _ = build_stage_inputs(tmp_path)
    folder = layout.stage("shards")
    run_stage(layout)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    run_stage(layout)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    (folder / "train-00007.h5").write_bytes(b"left over from another run")
    run_stage(layout)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def contents(layout):
    return {path.name: path.read_bytes() for path in layout.stage("shards").iterdir()}


def test_any_number_of_workers_writes_the_same_bytes(tmp_path):
    layout, _ = build_stage_inputs(tmp_path, clips=7)
    run_stage(layout)
    alone = contents(layout)
    shutil.rmtree(layout.stage("shards"))
    (tmp_path / "params.yaml").write_text(PARAMS.replace("workers: 1", "workers: 3"))
    run_stage(layout)
    assert contents(layout) == alone and len([name for name in alone if name.endswith(".h5")]) == 4


def test_only_shards_with_changed_clips_are_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(file_memo, "SETTLED", 0.0)
    read = []
    monkeypatch.setattr(
        stage, "measure_fit", lambda clip, **more: read.append(clip.clip_id) or measure_fit(clip, **more)
    )
    layout, made = build_stage_inputs(tmp_path)

    def build():
        time.sleep(0.02)  # longer than a tick of the file system's clock
        read.clear()
        run_stage(layout)
        return {path.name: path.stat().st_mtime_ns for path in layout.stage("shards").glob("*.h5")}, list(read)

    first, all_read = build()
    before = contents(layout)
    assert all_read == [clip.clip_id for clip in made]
    assert build() == (first, []) and contents(layout) == before

    np.save(layout.stage("pose") / "clip_002.npy", made[2].pose[::-1].copy())
    second, read_now = build()
    assert read_now == ["clip_002"]
    assert [name for name in first if first[name] != second[name]] == ["train-00001.h5"]
    assert np.array_equal(ShardSet(layout.stage("shards"), "train").read("clip_002").pose, made[2].pose[::-1])

    shutil.rmtree(layout.stage("shards"))  # as DVC does
    build()
    np.save(layout.stage("pose") / "clip_002.npy", made[2].pose)
    build()
    assert contents(layout) == before

    (layout.stage("shards") / "train-00000.h5").write_bytes(b"damaged")
    assert build()[1] == [] and contents(layout) == before


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda layout: (layout.stage("pose") / "clip_001.npy").write_bytes(b""), "pose: clip_001.npy"),
        (lambda layout: (layout.stage("i3d") / "clip_001.npy").write_bytes(b""), "i3d: clip_001.npy"),
        (
            lambda layout: [
                np.savez(layout.root / "x.npz", a=1),
                (layout.root / "x.npz").rename(layout.stage("pose") / "clip_001.npy"),
            ],
            "an archive",
        ),
        (
            lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.array([{}]), allow_pickle=True),
            "Python objects",
        ),
        (
            lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.full((90, 2, 17, 3), np.nan, "f4")),
            "NaN or infinite",
        ),
        (lambda layout: (layout.stage("pose") / "clip_001.npy").unlink(), "No such file"),
        (lambda layout: in_rows(layout, "90", "-5"), "can't be right"),
        (lambda layout: in_rows(layout, "90", "999999999999"), "lengths in frames differ"),
        (lambda layout: in_rows(layout, ",204,", ",-5,"), "can't be right"),
        (lambda layout: in_rows(layout, ",204,", ",0,"), "without frames, width or height"),
        (
            lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.zeros((90, 65, 17, 3), "f4")),
            "65 people, 1 to 64 fit",
        ),
        (lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.zeros((90, 0, 17, 3), "f4")), "0 people"),
        (lambda layout: (layout.stage("pose") / "clip_001.npy").write_bytes(ODD_HEADER), "clip_001"),
        (lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.zeros((80, 2, 17, 3), "f4")), "pose 80"),
        (lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.zeros((90, 17, 3), "f4")), "must be float32"),
        (lambda layout: np.save(layout.stage("i3d") / "clip_001.npy", np.zeros((0, 2048), "f4")), "0 windows"),
        (lambda layout: (layout.stage("audio") / "clip_001.wav").write_bytes(b"RIFF"), "clip_001.wav"),
        (lambda layout: half_an_mp3(layout.stage("audio") / "clip_001.wav"), "lengths in frames differ by more than"),
        (
            lambda layout: soundfile.write(layout.stage("audio") / "clip_001.wav", np.zeros((66150, 2)), 44100),
            "must be mono 22050 Hz",
        ),
    ],
)
def test_a_spoiled_clip_is_one_dropped_row(tmp_path, spoil, reason):
    layout, made = build_stage_inputs(tmp_path)
    spoil(layout)
    assert run_stage(layout) == 0
    rows = read_rows(layout)
    assert len(rows) == len(made)
    assert rows["clip_001"]["status"] == "dropped" and reason in rows["clip_001"]["reason"]
    assert {row["id"] for row in rows.values() if row["status"] == "ok"} == {c.clip_id for c in made} - {"clip_001"}
    assert [e.clip_id for e in ShardSet(layout.stage("shards"), "train").clips] == ["clip_000", "clip_002", "clip_003"]


def test_what_an_earlier_run_left_stays_where_clips_cannot_be_in_one_shard(tmp_path):
    layout, _ = build_stage_inputs(tmp_path)
    run_stage(layout)
    before = {path.name: path.read_bytes() for path in layout.stage("shards").iterdir()}
    np.save(layout.stage("pose") / "clip_001.npy", np.zeros((90, 3, 17, 3), "f4"))
    with pytest.raises(UserError, match="clips differ in their layout"):
        run_stage(layout)
    assert {path.name: path.read_bytes() for path in layout.stage("shards").iterdir()} == before


def test_lengths_a_frame_apart_are_cut_to_the_shortest(tmp_path):
    layout, made = build_stage_inputs(tmp_path)
    np.save(layout.stage("pose") / "clip_001.npy", made[1].pose[:89])
    run_stage(layout)
    window = ShardSet(layout.stage("shards"), "train").read("clip_001")
    assert len(window.pose) == 89 and np.array_equal(window.audio, made[1].audio[: 89 * 735])


@pytest.mark.parametrize("kept", ["train", "test"])
def test_a_split_without_training_or_test_clips_is_refused(tmp_path, kept):
    layout, _ = build_stage_inputs(tmp_path)
    table = layout.stage("split") / "split.csv"
    table.write_text(
        "".join(
            line
            for line in table.read_text().splitlines(True)
            if not line.endswith("test\n" if kept == "train" else "train\n")
        )
    )
    with pytest.raises(UserError, match=f"split.csv: no clip is in the {'test' if kept == 'train' else 'train'} split"):
        run_stage(layout)
    assert not list(layout.stage("shards").glob("*.h5"))


def test_too_many_drops_and_an_emptied_split_are_refused(tmp_path):
    layout, made = build_stage_inputs(tmp_path)
    (layout.stage("pose") / f"{made[-1].clip_id}.npy").unlink()
    with pytest.raises(UserError, match="the test split is empty: .*No such file"):
        run_stage(layout)
    for clip in made[:3]:
        (layout.stage("pose") / f"{clip.clip_id}.npy").unlink()
    with pytest.raises(UserError, match="1 of 5 ok, 4 dropped"):
        run_stage(layout)
    assert len(read_rows(layout)) == 5 and not list(layout.stage("shards").glob("*.h5"))


def test_missing_stage_is_named(tmp_path):
    layout, _ = build_stage_inputs(tmp_path)
    (layout.stage("i3d") / "rows.csv").unlink()
    with pytest.raises(UserError, match=r"run python -m dataset_tools\.i3d"):
        run_stage(layout)


def test_a_shard_takes_no_more_clips_than_are_read_back():
    assert Params(max_clips=SHARD_CLIPS).max_clips == SHARD_CLIPS
    with pytest.raises(ValueError, match=f"max_clips must be 1 to {SHARD_CLIPS}, found {SHARD_CLIPS + 1}"):
        Params(max_clips=SHARD_CLIPS + 1)


def pack(folder, suffix):
    """Move the files of a stage into packs of about two."""
    files = {path.name: path.rename(folder.parent / f"{folder.name}-{path.name}") for path in folder.glob(f"*{suffix}")}
    publish_packs(folder, files, suffix, 2, FileMemo(folder.parent / "known.json"))


@pytest.mark.parametrize("rate", [0, 60])
def test_packs_give_the_same_shards_and_what_changed_in_them_is_seen(tmp_path, rate, monkeypatch):
    monkeypatch.setattr(file_memo, "SETTLED", 0.0)
    written = []
    for place in ("loose", "packed"):
        layout, made = build_stage_inputs(tmp_path / place)
        for clip in made if rate else ():
            motion = build_clip(int(clip.clip_id[-3:]), seconds=3.0, motion_rate=rate).motion
            np.save(layout.stage("pose") / f"{clip.clip_id}.motion.npy", motion)
        if place == "packed":
            for word, suffix in (("pose", ".npy"), ("i3d", ".npy"), ("audio", ".wav")):
                pack(layout.stage(word), suffix)
                assert not list(layout.stage(word).glob(f"*{suffix}"))
        assert run_stage(layout) == 0
        written.append({path.name: path.read_bytes() for path in layout.stage("shards").iterdir()})
    assert written[0] == written[1] and len(written[0]) == 5
    before = {path.name: path.stat().st_mtime_ns for path in layout.stage("shards").glob("*.h5")}
    assert run_stage(layout) == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in layout.stage("shards").glob("*.h5")}
    changed = layout.stage("i3d").parent / "i3d-clip_000.npy"
    np.save(changed, np.load(changed) + 1)
    files = {f"{clip.clip_id}.npy": changed.with_name(f"i3d-{clip.clip_id}.npy") for clip in made}
    publish_packs(layout.stage("i3d"), files, ".npy", 2, FileMemo(tmp_path / "known.json"))
    assert run_stage(layout) == 0
    (new,) = {path for path in layout.stage("shards").glob("*.h5") if path.read_bytes() != written[0][path.name]}
    assert np.array_equal(ShardSet(layout.stage("shards"), "train").read_i3d("clip_000"), np.load(changed))
    assert new.name == "train-00000.h5"
