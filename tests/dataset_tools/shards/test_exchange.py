"""Shards in other formats: tars that webdataset reads, the released program's folders and back, hostile folders."""

import re
import runpy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from dataset_tools.lib.core.addresses import as_path
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.lib.shard_io.shard_format import NO_POSE, write_shard
from dataset_tools.lib.shard_io.shard_index import INDEX, read_index
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.pose.layouts import to_layout
from dataset_tools.shards import __main__ as shards
from dataset_tools.shards.params import EXPORTS
from dataset_tools.shards.released_layout import export_released, find_segments, segment_name
from tests.helpers.builders import build_clip, build_manifest, build_shards
from tests.helpers.object_store import object_store


@pytest.fixture
def root(tmp_path):
    """A working folder whose corpus `tiny` has shards: 4 training clips of 5 s, 2 test clips, BODY_25."""
    build_manifest(tmp_path)
    (tmp_path / "params.yaml").write_text("shards: {max_clips: 4, min_ok: 0.5}\n")
    folder = tmp_path / "data" / "tiny" / "shards"
    build_shards(folder, clips=4, seconds=5, layout="body25", corpus="tiny")
    build_shards(folder, clips=2, seconds=5, layout="body25", corpus="tiny", split="test", first=4)
    return tmp_path


def run(root, *args):
    return shards.main([*args, "--root", str(root), "--corpus", "tiny"])


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def export(root, kind="released", name="out"):
    assert run(root, "export", "--format", kind, "--out", str(root / name)) == 0
    return root / name


def test_the_shards_themselves_are_exported_and_open_anywhere(root):
    out = export(root, "hdf5")
    shards = root / "data" / "tiny" / "shards"
    assert {name: data for name, data in files(out).items() if name != INDEX} == files(shards)
    assert read_index(out).keys() == files(shards).keys()
    assert ShardSet(out, "train").clips == ShardSet(shards, "train").clips


def test_an_object_store_gets_the_same_files(root, tmp_path):
    with object_store(tmp_path, "corpora") as store:
        for kind in EXPORTS:
            near, far = export(root, kind, kind), f"s3://corpora/{kind}"
            assert run(root, "export", "--format", kind, "--out", far) == 0
            sent = {name: (as_path(far) / name).read_bytes() for name in files(near)}
            assert sent == files(near) and len(list(as_path(far).glob("**/*.*"))) == len(sent)
            with pytest.raises(UserError, match=f"{far}: is not an empty folder; give --out a new one"):
                run(root, "export", "--format", kind, "--out", far)
        with pytest.raises(UserError, match="s3://nowhere/x.*; look at the address, the network and the credentials"):
            run(root, "export", "--format", "webdataset", "--out", "s3://nowhere/x")
        assert store.requests["PUT"] > 10
    assert not list(tmp_path.glob("**/*.part*"))


def test_webdataset_reads_the_tars(root, tmp_path):
    import webdataset

    out = export(root, "webdataset")
    assert sorted(files(out)) == ["test-000000.tar", "train-000000.tar", "train-000001.tar"]
    written = ShardSet(root / "data" / "tiny" / "shards", "train")
    urls = [f"file:{out}/train-00000{n}.tar" for n in range(2)]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode())
    assert [sample["__key__"] for sample in samples] == [clip.clip_id for clip in written.clips]
    for sample, clip in zip(samples, written.clips, strict=True):
        window = written.read(clip.clip_id)
        assert np.array_equal(sample["pose.npy"], window.pose) and np.array_equal(sample["audio.npy"], window.audio)
        assert np.array_equal(sample["i3d.npy"], written.read_i3d(clip.clip_id))
        assert sample["json"]["song"] == clip.song and sample["json"]["frames"] == 150 and sample["json"]["fps"] == 30
    assert files(export(root, "webdataset", "again")) == files(out)


def test_the_lines_that_the_docs_show_for_the_tars(root, monkeypatch, capsys):
    export(root, "webdataset", "DIR")
    capsys.readouterr()
    monkeypatch.chdir(root)
    _, lines = re.findall(r"```python\n(.*?)```", (PROJECT / "docs/shards.md").read_text(encoding="utf-8"), re.DOTALL)
    (root / "tars.py").write_text(lines, encoding="utf-8")
    runpy.run_path("tars.py")
    clips = ShardSet(root / "data" / "tiny" / "shards", "train").clips
    shapes = "(150, 2, 25, 3) (110250,)"
    assert capsys.readouterr().out.splitlines() == [f"{clip.clip_id} {clip.song} {shapes}" for clip in clips]


def test_dotted_ids_stay_one_sample_each(root):
    from dataset_tools.shards.tar_samples import sample_key

    assert sample_key("comp.1_2.b") == "comp-1_2-b"


def test_released_layout_has_its_shapes(root):
    out = export(root)
    names = (out / "train_segs.txt").read_text().split()
    assert names[:3] == ["clip_song-000_000_seg0", "clip_song-000_000_seg1", "clip_song-001_001_seg0"]
    assert len(names) == 8 and len((out / "test_segs.txt").read_text().split()) == 4
    written = ShardSet(root / "data" / "tiny" / "shards", "train")
    window = written.read("clip_001", 60, 60)
    motion = np.load(out / "motion_s2" / "clip_song-001_001_seg1.npy")
    video = np.load(out / "video_s2" / "clip_song-001_001_seg1.npy")
    audio, rate = soundfile.read(out / "audio_s2" / "clip_song-001_001_seg1.wav", dtype="float32")
    assert motion.shape == (60, 75) and np.array_equal(motion, window.pose[:, 0].reshape(60, 75))
    assert video.shape == (1, 2048) and np.array_equal(video[0], window.i3d)
    assert rate == 22050 and np.array_equal(audio, window.audio)


def test_released_to_shards_and_back_is_byte_equal(root):
    out = export(root)
    run(root, "import", "--from", str(out))
    made = ShardSet(root / "data" / "tiny" / "shards", "train")
    assert (made.info.pose_layout, made.info.people, len(made.clips)) == ("body25", 1, 8)
    assert {clip.song for clip in made.clips} == {f"song-00{n}" for n in range(4)}
    assert files(export(root, name="again")) == files(out)
    before = files(root / "data" / "tiny" / "shards")
    run(root, "import", "--from", str(out))
    assert files(root / "data" / "tiny" / "shards") == before


@pytest.fixture
def danced(tmp_path):
    """A working folder whose corpus `tiny` has SMPL motion at 60 fps, as AIST++ has: 3 training clips of 5 s, 1 test clip."""
    build_manifest(tmp_path)
    (tmp_path / "params.yaml").write_text("shards: {min_ok: 0.5}\n")
    folder = tmp_path / "data" / "tiny" / "shards"
    build_shards(folder, clips=3, seconds=5, corpus="tiny", motion_rate=60)
    build_shards(folder, clips=1, seconds=5, corpus="tiny", split="test", first=3, motion_rate=60)
    return tmp_path


def test_body_motion_is_exported_and_imported_byte_for_byte(danced):
    window = ShardSet(danced / "data" / "tiny" / "shards", "train").read("clip_001", 60, 60)
    out = export(danced)
    motion = np.load(out / "motion_s2" / "clip_song-001_001_seg1.npy")
    assert (
        motion.shape == (120, 219)
        and motion.dtype == np.float32
        and np.array_equal(motion, window.motion.reshape(120, 219))
    )
    run(danced, "import", "--from", str(out))
    made = ShardSet(danced / "data" / "tiny" / "shards", "train")
    assert (made.info.motion_rate, made.info.pose_weights, len(made.clips)) == (60, NO_POSE, 6)
    again = made.read("clip_song-001_001_seg1")
    assert np.array_equal(again.motion, window.motion) and again.motion.shape == (60, 2, 219) and not again.pose.any()
    assert files(export(danced, name="again")) == files(out)


def test_keypoints_and_body_motion_are_two_corpora(danced):
    out = export(danced)
    name = (out / "train_segs.txt").read_text().split()[2]
    np.save(out / "motion_s2" / f"{name}.npy", np.zeros((60, 75), "f4"))
    before = files(danced / "data")
    with pytest.raises(UserError, match=f"{name} has keypoints, but clip_song-000_000_seg0 has SMPL motion"):
        run(danced, "import", "--from", str(out))
    assert files(danced / "data") == before
    np.save(out / "motion_s2" / f"{name}.npy", np.zeros((120, 225), "f4"))
    run(danced, "import", "--from", str(out))
    (dropped,) = [row for row in (danced / "data/tiny/shards/rows.csv").read_text().splitlines() if ",dropped," in row]
    assert dropped.startswith(name) and "shape (60, 75) or (120, 219), found float32 (120, 225)" in dropped


def test_body_motion_at_another_rate_has_no_place_there(tmp_path):
    build_manifest(tmp_path)
    build_shards(tmp_path / "data" / "tiny" / "shards", clips=1, corpus="tiny", motion_rate=120)
    with pytest.raises(UserError, match="motion at 120 steps a second; the layout has 60"):
        export(tmp_path)
    assert not (tmp_path / "out").exists()


def test_coco_poses_become_body25(tmp_path):
    build_manifest(tmp_path)
    (tmp_path / "params.yaml").write_text("shards: {}\n")
    source = build_shards(tmp_path / "data" / "tiny" / "shards", clips=1, seconds=2, corpus="tiny")
    out = export(tmp_path)
    (path,) = (out / "motion_s2").iterdir()
    motion = np.load(path).reshape(60, 25, 3)
    assert np.array_equal(motion, to_layout(source.read("clip_000").pose[:, 0], "body25"))
    assert motion[:, 0, 2].all() and not motion[:, 19:].any()


def test_names_of_segments():
    assert segment_name("000012_7_3", "7", 2) == "000012_7_3_seg2"
    assert segment_name("comp0_03", "house1", 0) == "comp0_house1_03_seg0"
    assert segment_name("000012_7_3_seg5", "7", 0) == "000012_7_3_seg5"


@pytest.mark.parametrize(("clip_id", "song"), [("clip_", "s"), ("c" * 60, "s" * 60), ("a", "b" * 121)])
def test_what_could_not_be_imported_again_is_not_exported(tmp_path, clip_id, song):
    with pytest.raises(ValueError, match="segments"):
        segment_name(clip_id, song, 0)
    attrs = {"corpus": "tiny", "split": "train", "pose_layout": "coco17", "pose_weights": "p", "i3d_weights": "v"}
    good = build_clip(0, seconds=2)
    write_shard(
        tmp_path / "train-00000.h5", [replace(good, clip_id="0"), replace(good, clip_id=clip_id, song=song)], attrs
    )
    with pytest.raises(UserError, match=f"clip '{clip_id}' of song '{song}'.*rename it"):
        export_released(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lists_and_names_are_read_loosely(root):
    out = export(root)
    train = (out / "train_segs.txt").read_text().split()
    (out / "train_segs.txt").unlink()
    (out / "tiktok_TRAIN_list.txt").write_text("\ufeff" + "".join(f"{name}.npy\r\n\r\n" for name in train))
    (out / "notes.txt").write_text("not a list")
    assert [s.name for s in find_segments(out) if s.split == "train"] == sorted(train)


def test_other_dtypes_and_16_bit_audio_are_taken(root):
    out = export(root)
    name = (out / "train_segs.txt").read_text().split()[0]
    pose = np.load(out / "motion_s2" / f"{name}.npy")
    np.save(out / "motion_s2" / f"{name}.npy", pose.astype("f8").reshape(60, 25, 3))
    np.save(out / "video_s2" / f"{name}.npy", np.load(out / "video_s2" / f"{name}.npy")[0])
    audio, _ = soundfile.read(out / "audio_s2" / f"{name}.wav", dtype="float32")
    soundfile.write(out / "audio_s2" / f"{name}.wav", np.append(audio, 0), 22050, subtype="PCM_16")
    run(root, "import", "--from", str(out))
    window = ShardSet(root / "data" / "tiny" / "shards", "train").read(name)
    assert np.array_equal(window.pose[:, 0].reshape(60, 75), pose) and np.abs(window.audio - audio).max() < 1e-4


class Trap:
    def __reduce__(self):
        return (open, ("/tmp/d2m_pickle_was_run", "w"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda out, n: (out / "motion_s2" / f"{n}.npy").write_bytes(b""), "not readable"),
        (lambda out, n: np.save(out / "motion_s2" / f"{n}.npy", np.zeros((59, 75), "f4")), "found float32 (59, 75)"),
        (lambda out, n: np.save(out / "video_s2" / f"{n}.npy", np.array([Trap()])), "not readable"),
        (lambda out, n: np.save(out / "video_s2" / f"{n}.npy", np.full((1, 2048), np.inf, "f4")), "NaN or infinite"),
        (
            lambda out, n: (
                np.savez(out / "x.npz", a=np.zeros(2048)) or (out / "x.npz").rename(out / "video_s2" / f"{n}.npy")
            ),
            "an archive",
        ),
        (lambda out, n: (out / "video_s2" / f"{n}.npy").write_bytes(bytes(5 << 20)), "too many for 2 s"),
        (
            lambda out, n: np.save(out / "motion_s2" / f"{n}.npy", np.full((60, 75), 1e30)),
            "but a frame has at most 8192 px",
        ),
        (
            lambda out, n: np.save(out / "motion_s2" / f"{n}.npy", np.full((60, 75), -1e30)),
            "but a frame has at most 8192 px",
        ),
        (lambda out, n: np.save(out / "motion_s2" / f"{n}.npy", np.full((60, 75), 3.0)), "confidences outside 0..1"),
        (lambda out, n: (out / "audio_s2" / f"{n}.wav").write_bytes(b"RIFF"), "not readable"),
        (lambda out, n: soundfile.write(out / "audio_s2" / f"{n}.wav", np.zeros(44099), 22050), "at least 44100"),
        (lambda out, n: soundfile.write(out / "audio_s2" / f"{n}.wav", np.zeros(88200), 44100), "at 44100 Hz"),
        (
            lambda out, n: soundfile.write(
                out / "audio_s2" / f"{n}.wav", np.full(44100, -16384.0), 22050, subtype="FLOAT"
            ),
            "audio holds samples up to 16384, but at most 4 is allowed, because full scale is 1; scale it to -1..1",
        ),
        (lambda out, n: (out / "audio_s2" / f"{n}.wav").unlink(), "is missing"),
        (
            lambda out, n: [
                (out / "audio_s2" / f"{n}.wav").unlink(),
                (out / "audio_s2" / f"{n}.wav").symlink_to("/etc/passwd"),
            ],
            "not a plain file",
        ),
    ],
)
def test_a_broken_segment_is_one_dropped_row(root, spoil, reason):
    out = export(root)
    name = (out / "train_segs.txt").read_text().split()[3]
    spoil(out, name)
    run(root, "import", "--from", str(out))
    rows = (root / "data" / "tiny" / "shards" / "rows.csv").read_text().splitlines()
    (dropped,) = [row for row in rows if ",dropped," in row]
    assert dropped.startswith(name) and reason in dropped and len(rows) == 13


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../../etc/passwd_1_1_seg0", "not a segment's name"),
        ("/etc/a_1_1_seg0", "not a segment's name"),
        ("a_1_1", "not a segment's name"),
        ("..a_1_1_seg0", "not a segment's name"),
        ("clip_song-004_004_seg0", "is in the"),
        ("a_-x_1_seg0", "not a segment's name"),
        ("a_é_1_seg0", "not a segment's name"),
        ("a_1_1_seg" + "9" * 5000, "not a segment's name"),
    ],
)
def test_hostile_lists_are_refused(root, line, message):
    out = export(root)
    with open(out / "train_segs.txt", "a") as handle:
        handle.write(line + "\n")
    before = files(root / "data")
    with pytest.raises(UserError, match=message) as caught:
        run(root, "import", "--from", str(out))
    assert "\n" not in str(caught.value) and files(root / "data") == before


def test_what_is_missing_is_said(root):
    out = export(root)
    with pytest.raises(UserError, match="not an empty folder"):
        export(root)
    shutil.rmtree(out / "video_s2")
    with pytest.raises(UserError, match="video_s2: no such folder"):
        run(root, "import", "--from", str(out))
    (out / "video_s2").mkdir()
    for path in out.glob("*.txt"):
        path.unlink()
    with pytest.raises(UserError, match="no segment lists"):
        run(root, "import", "--from", str(out))
    shutil.rmtree(root / "data")
    with pytest.raises(UserError, match="no shards"):
        run(root, "export", "--format", "webdataset", "--out", str(root / "new"))
    assert not (root / "new").exists()


def test_peaks_that_resampling_has_made_stay(root):
    out = export(root)
    name = (out / "train_segs.txt").read_text().split()[3]
    soundfile.write(out / "audio_s2" / f"{name}.wav", np.full(44100, 1.25), 22050, subtype="FLOAT")
    run(root, "import", "--from", str(out))
    assert ",dropped," not in (root / "data" / "tiny" / "shards" / "rows.csv").read_text()
    assert (ShardSet(root / "data" / "tiny" / "shards", "train").read(name).audio == 1.25).all()
