"""Shards: what is written is what is read, equal bytes when rebuilt, every flipped byte noticed, no hostile file."""

import csv
import multiprocessing
import random
import shutil

import h5py
import numpy as np
import pytest
import soundfile
import torch
from builders import build_clip, build_shards

from dataset_tools import shards
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.shard_format import validate_shard, write_shard
from dataset_tools.base.shard_set import ShardSet

ATTRS = {"corpus": "tiny", "split": "train", "pose_layout": "coco17", "pose_weights": "p", "i3d_weights": "v"}
PARAMS = "shards: {max_clips: 2, max_frames_apart: 2, min_ok: 0.5}\n"


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
    lines = [f"{c.clip_id},ok,,{c.song},{c.genre},{len(c.pose)},{c.width},{c.height}" for c in made]
    header = "id,status,reason,song_id,genre,frames,width,height"
    (layout.stage("clips") / "rows.csv").write_text("\n".join([header, *lines]) + "\n")
    for word in ("pose", "i3d", "audio"):
        lines = [f"{c.clip_id},ok,,{word}-weights" for c in made]
        (layout.stage(word) / "rows.csv").write_text("\n".join(["id,status,reason,weights", *lines]) + "\n")
    lines = [f"{c.clip_id},{c.song},{c.split}" for c in made]
    (layout.stage("split") / "split.csv").write_text("\n".join(["clip_id,song_id,split", *lines]) + "\n")
    return layout, made


def run_stage(layout):
    return shards.main(["--root", str(layout.root), "--corpus", "tiny"])


def read_rows(layout):
    with open(layout.stage("shards") / "rows.csv", newline="") as handle:
        return {row["id"]: row for row in csv.DictReader(handle)}


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


def test_windows_are_cut_where_time_says(tmp_path):
    shard_set, clip = build_shards(tmp_path, clips=2, seconds=4.1), build_clip(1, seconds=4.1)
    for start, frames in ((0, 60), (30, 60), (37, 45), (63, 60), (122, 1)):
        window = shard_set.read("clip_001", start, frames)
        assert np.array_equal(window.pose, clip.pose[start : start + frames])
        assert np.array_equal(window.audio, clip.audio[start * 735 : (start + frames) * 735])
        assert np.array_equal(window.i3d, clip.i3d[min(start // 30, 2)])
    for start, frames in ((-1, 10), (0, 0), (100, 60)):
        with pytest.raises(ValueError, match="not inside"):
            shard_set.read("clip_001", start, frames)


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


def read_in_process(shard_set, clip_id, queue):
    try:
        queue.put(shard_set.read(clip_id, 30, 30).audio)
    except UserError as err:
        queue.put(str(err))


def read_elsewhere(method, shard_set, clip_id):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=read_in_process, args=(shard_set, clip_id, queue))
    child.start()
    found = queue.get(timeout=120)
    child.join()
    return found


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(tmp_path, method):
    shard_set = build_shards(tmp_path)
    here = shard_set.read("clip_002", 30, 30).audio  # the parent has the file open
    assert np.array_equal(here, read_elsewhere(method, shard_set, "clip_002"))


def test_a_fork_opens_its_own_file(tmp_path):
    shard_set = build_shards(tmp_path)
    shard_set.read("clip_001", 30, 30)
    (tmp_path / "train-00000.h5").unlink()  # the parent's handle still reads it; one that is opened anew can't
    assert "train-00000.h5" in read_elsewhere("fork", shard_set, "clip_002")
    assert len(shard_set.read("clip_002", 30, 30).audio) == 22050
    assert len(read_elsewhere("fork", shard_set, "clip_001")) == 22050  # what is in memory is


@pytest.mark.parametrize("memory", [1 << 30, 0, 800_000])
def test_any_order_and_any_memory_read_the_same(tmp_path, memory):
    written = build_shards(tmp_path, clips=5, seconds=4)
    shard_set = ShardSet(tmp_path, "train", memory=memory)
    rng = random.Random(0)
    for _ in range(60):
        number, frames = rng.randrange(5), 30 * rng.randint(1, 4)
        start = 30 * rng.randint(0, (120 - frames) // 30)
        window, clip = shard_set.read(f"clip_{number:03d}", start, frames), build_clip(number, seconds=4)
        assert np.array_equal(window.pose, clip.pose[start : start + frames])
        assert np.array_equal(window.audio, clip.audio[start * 735 : (start + frames) * 735])
        window.pose[:] = window.audio[:] = -1  # theirs to change
    with pytest.raises(ValueError, match="read-only"):
        shard_set.view(written.clips[0].clip_id, 0, 30).audio[0] = 1


def test_batches_hold_the_windows_in_order(tmp_path):
    shard_set = build_shards(tmp_path, clips=3, seconds=4)
    places = [("clip_002", 60), ("clip_000", 0), ("clip_002", 30)]
    batch = shard_set.read_batch(places, 60)
    assert batch.pose.shape == (3, 60, 2, 17, 3) and batch.audio.shape == (3, 44100) and batch.i3d.shape == (3, 2048)
    for n, (clip_id, start) in enumerate(places):
        assert all(np.array_equal(b[n], w) for b, w in zip(batch, shard_set.read(clip_id, start, 60), strict=True))
    again = shard_set.read_batch(places[::-1], 60, batch)
    assert again.audio is batch.audio and np.array_equal(again.audio[0], shard_set.read("clip_002", 30, 60).audio)


class EveryWindow(torch.utils.data.Dataset):
    """Windows of 2 s by number, as a training loader reads them."""

    def __init__(self, folder):
        self.shards = ShardSet(folder, "train")
        self.places = [(clip.clip_id, start) for clip in self.shards.clips for start in range(0, clip.frames - 59, 30)]

    def __len__(self):
        return len(self.places)

    def __getitem__(self, index):
        return index, *self.shards.read(*self.places[index], 60)


def test_several_loader_workers_read_at_random(tmp_path):
    build_shards(tmp_path, clips=5, seconds=4)
    data = EveryWindow(tmp_path)
    data[0]  # the parent has a file open
    order = torch.Generator().manual_seed(0)
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True, num_workers=2, generator=order)
    seen = []
    for indices, pose, audio, *_ in loader:
        for index, p, a in zip(indices.tolist(), pose.numpy(), audio.numpy(), strict=True):
            clip, start = build_clip(int(data.places[index][0][-3:]), seconds=4), data.places[index][1]
            assert np.array_equal(p, clip.pose[start : start + 60])
            assert np.array_equal(a, clip.audio[start * 735 : (start + 60) * 735])
            seen.append(index)
    assert sorted(seen) == list(range(15))


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
        (lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.array([{}]), allow_pickle=True), "Python objects"),
        (
            lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.full((90, 2, 17, 3), np.nan, "f4")),
            "NaN or infinite",
        ),

        (lambda layout: (layout.stage("pose") / "clip_001.npy").unlink(), "No such file"),
        (lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.zeros((80, 2, 17, 3), "f4")), "pose 80"),
        (lambda layout: np.save(layout.stage("pose") / "clip_001.npy", np.zeros((90, 17, 3), "f4")), "must be float32"),
        (lambda layout: np.save(layout.stage("i3d") / "clip_001.npy", np.zeros((0, 2048), "f4")), "0 windows"),
        (lambda layout: (layout.stage("audio") / "clip_001.wav").write_bytes(b"RIFF"), "clip_001.wav"),
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
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.endswith("test\n" if kept == "train" else "train\n")))
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


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    original = build_shards(tmp_path / "good", clips=2, seconds=2)
    before = [original.read(entry.clip_id) for entry in original.clips]
    data = original.infos[0].path.read_bytes()
    with h5py.File(original.infos[0].path) as shard:  # half of the flips go where the file describes itself
        described = np.ones(len(data), bool)
        for stream in (stream for clip in shard.values() for stream in clip.values()):
            for index in range(stream.id.get_num_chunks()):
                chunk = stream.id.get_chunk_info(index)
                described[chunk.byte_offset : chunk.byte_offset + chunk.size] = False
    rng, metadata = random.Random(0), np.flatnonzero(described).tolist()
    places = [rng.randrange(len(data)) for _ in range(60)] + [rng.choice(metadata) for _ in range(60)]
    path = tmp_path / "bad" / "train-00000.h5"
    path.parent.mkdir()
    noticed = 0
    for place in places:
        path.unlink(missing_ok=True)  # HDF5 takes a file of the same inode for the one it has open
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :])
        try:
            validate_shard(path, deep=True)
            flipped = ShardSet(path.parent, "train")
        except UserError as err:
            assert "\n" not in str(err) and str(path) in str(err)
            noticed += 1
            continue
        assert flipped.clips == original.clips
        for entry, window in zip(flipped.clips, before, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(flipped.read(entry.clip_id), window, strict=True))
    assert noticed > 90


def test_damaged_data_name_the_clip(tmp_path):
    shard_set = build_shards(tmp_path, clips=1)
    path = shard_set.infos[0].path
    with h5py.File(path) as shard:
        offset = shard["clip_000/audio"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[offset + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="clip 'clip_000': damaged data"):
        ShardSet(tmp_path, "train").read("clip_000", 0, 30)
    with pytest.raises(UserError, match="damaged"):  # in whatever part of the clip
        ShardSet(tmp_path, "train").read("clip_000", 60, 30)


def edited(tmp_path, edit):
    """A shard of two clips after `edit(h5py file)`."""
    path = build_shards(tmp_path, clips=2, seconds=2).infos[0].path
    with h5py.File(path, "r+") as shard:
        edit(shard)
    return path


def replaced(name, **options):
    def edit(shard):
        values = shard[f"clip_000/{name}"][...]
        del shard[f"clip_000/{name}"]
        if options.pop("own", False):
            options["data"] = values
        shard["clip_000"].create_dataset(name, **options)

    return edit


def raw_external(shard):
    del shard["clip_000/audio"]
    shard["clip_000"].create_dataset("audio", (44100,), "<f4", external=[("/etc/passwd", 0, 176400)])


def virtual(shard):
    del shard["clip_000/audio"]
    layout = h5py.VirtualLayout((44100,), "<f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "audio", (44100,))
    shard["clip_000"].create_virtual_dataset("audio", layout)


def external_link(shard):
    del shard["clip_000/audio"]
    shard["clip_000/audio"] = h5py.ExternalLink("/tmp/other.h5", "/audio")


def external_group(shard):
    shard["clip_009"] = h5py.ExternalLink("/tmp/other.h5", "/clip")


def soft_link(shard):
    del shard["clip_000/audio"]
    shard["clip_000/audio"] = h5py.SoftLink("/clip_001/audio")


def never_written(shard):
    del shard["clip_000/audio"]
    shard["clip_000"].create_dataset("audio", (44100,), "<f4", chunks=(22050,), fletcher32=True)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda shard: shard.attrs.__setitem__("schema", np.bytes_("d2m-shard/99")), "schema 'd2m-shard/99' is not"),
        (lambda shard: shard.attrs.__delitem__("schema"), "attribute 'schema' is missing"),
        (lambda shard: shard.attrs.__setitem__("fps", 60), "fps must be 30, found 60"),
        (lambda shard: shard.attrs.__setitem__("fps", "thirty"), "attribute 'fps' must be a whole number"),
        (lambda shard: shard.attrs.__setitem__("split", np.bytes_("dev")), "split must be one of"),
        (lambda shard: shard.attrs.__setitem__("pose_layout", np.bytes_("body25")), "pose must be float32"),
        (lambda shard: shard["clip_000"].attrs.__setitem__("frames", 10**9), "frames must be 1 to"),
        (lambda shard: shard["clip_000"].attrs.__setitem__("split", np.bytes_("test")), "in a shard of 'train'"),
        (lambda shard: shard.move("clip_000", ".hidden"), "it becomes a file name"),
        (lambda shard: shard["clip_000"].create_group("more"), "must hold pose, audio, i3d"),
        (lambda shard: [shard.pop(name) for name in list(shard)], "holds no clip"),
        (external_link, "'audio' is a link to somewhere else"),
        (external_group, "'clip_009' is a link to somewhere else"),
        (soft_link, "'audio' is a link to somewhere else"),
        (raw_external, "stored in another file"),
        (virtual, "stored in another file"),
        (never_written, "is incomplete"),
        (replaced("audio", own=True, dtype="f8", chunks=(22050,), fletcher32=True), "must be float32"),
        (replaced("audio", own=True, chunks=(22050,)), "must have the fletcher32 filter"),
        (replaced("audio", own=True, chunks=(22050,), fletcher32=True, compression="gzip"), "and no other"),
        (replaced("audio", own=True, chunks=(44100,), fletcher32=True), "in chunks"),
        (
            replaced("pose", data=np.zeros((60, 500, 17, 3), "f4"), chunks=(30, 500, 17, 3), fletcher32=True),
            "500 people",
        ),
        (replaced("audio", data=np.array(["x"] * 9, dtype=h5py.string_dtype())), "must be float32"),
    ],
)
def test_foreign_shards_are_refused_before_any_read(tmp_path, edit, message):
    path = edited(tmp_path, edit)
    with pytest.raises(UserError, match=message) as caught:
        ShardSet(tmp_path, "train")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_no_shard_at_all(tmp_path, data):
    (tmp_path / "train-00000.h5").write_bytes(data)
    with pytest.raises(UserError, match="not a readable shard"):
        ShardSet(tmp_path, "train")
    with pytest.raises(UserError, match="no shard of the 'test' split"):
        ShardSet(tmp_path, "test")


def test_sets_must_be_whole_and_agree(tmp_path):
    build_shards(tmp_path, clips=7, seconds=2)
    (tmp_path / "train-00001.h5").rename(tmp_path / "aside")
    with pytest.raises(UserError, match=r"train-00001\.h5 is missing"):
        ShardSet(tmp_path, "train")
    write_shard(tmp_path / "train-00001.h5", [build_clip(0, seconds=2)], {**ATTRS, "corpus": "demo"})
    with pytest.raises(UserError, match="pose_weights differs"):
        ShardSet(tmp_path, "train")
    shutil.copy(tmp_path / "train-00000.h5", tmp_path / "train-00001.h5")
    with pytest.raises(UserError, match="'clip_000' is in two shards"):
        ShardSet(tmp_path, "train")


def test_writer_refuses_and_leaves_nothing(tmp_path):
    path = tmp_path / "train-00000.h5"
    two = [build_clip(1), build_clip(0)]
    with pytest.raises(ValueError, match="sorted by id"):
        write_shard(path, two, ATTRS)
    with pytest.raises(ValueError, match="split 'test' in a shard of 'train'"):
        write_shard(path, [build_clip(0, split="test")], ATTRS)
    with pytest.raises(ValueError, match="pose must be"):
        write_shard(path, [build_clip(0, layout="body25")], ATTRS)
    assert list(tmp_path.iterdir()) == []
