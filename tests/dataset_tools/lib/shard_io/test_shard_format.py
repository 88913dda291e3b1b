"""Shard files: every flipped byte is noticed, no hostile file is read, nothing half is left."""

import random
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io import shard_check
from dataset_tools.lib.shard_io.shard_check import validate_shard
from dataset_tools.lib.shard_io.shard_format import write_shard
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.helpers.builders import build_clip, build_shards

ATTRS = {"corpus": "tiny", "split": "train", "pose_layout": "coco17", "pose_weights": "p", "i3d_weights": "v"}


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


def clip_text(name, text):
    return lambda shard: shard["clip_000"].attrs.__setitem__(name, np.bytes_(text.encode()))


def clip_number(name, value):
    return lambda shard: shard["clip_000"].attrs.__setitem__(name, value)


def time_stamp(shard):
    clip = shard["clip_000"]
    del clip.attrs["width"]
    h5py.h5a.create(clip.id, b"width", h5py.h5t.UNIX_D32LE, h5py.h5s.create(h5py.h5s.SCALAR))


def time_stream(shard):
    clip = shard["clip_000"]
    del clip["audio"]
    h5py.h5d.create(clip.id, b"audio", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((9,)))


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
        (lambda shard: shard["clip_000"].create_group("more"), "must contain pose, audio, i3d"),
        (lambda shard: [shard.pop(name) for name in list(shard)], "has no clips"),
        (external_link, "'audio' is a link, which a shard may not contain"),
        (external_group, "'clip_009' is a link, which a shard may not contain"),
        (soft_link, "'audio' is a link, which a shard may not contain"),
        (raw_external, "stored in another file"),
        (virtual, "stored in another file"),
        (never_written, "is incomplete"),
        (replaced("audio", own=True, dtype="f8", chunks=(22050,), fletcher32=True), "must be float32"),
        (replaced("audio", own=True, chunks=(22050,)), "must have the fletcher32 filter"),
        (replaced("audio", own=True, chunks=(22050,), fletcher32=True, compression="gzip"), "and no other"),
        (replaced("audio", own=True, chunks=(44100,), fletcher32=True), "in chunks"),
        (
            replaced("pose", data=np.zeros((60, 500, 17, 3), "f4"), chunks=(30, 500, 17, 3), fletcher32=True),
            "people must be 1 to 64, found 500",
        ),
        (replaced("audio", data=np.array(["x"] * 9, dtype=h5py.string_dtype())), "must be float32"),
        *[
            (clip_text("song", song), "song must be letters")
            for song in ("../../../../../X", "a\nb_seg0", "é", "", "/tmp/x", "a" * 122, "-x")
        ],
        (clip_text("genre", "a\nb"), "genre must be one line"),
        (clip_text("genre", "x" * 5000), "attribute 'genre' must be a fixed-length text of at most"),
        (lambda shard: shard.attrs.__setitem__("corpus", np.bytes_("../x")), "corpus must be letters"),
        (lambda shard: shard.attrs.__setitem__("pose_weights", np.bytes_("a\x1b[2J")), "pose_weights must be one line"),
        (clip_number("width", 0), "width must be 1 to 8192, found 0"),
        (clip_number("height", -5), "height must be 1 to 8192, found -5"),
        (clip_number("height", 2**40), "height must be"),
        (clip_number("width", [360]), "attribute 'width' must be one value"),
        (clip_number("width", 360.0), "attribute 'width' must be a whole number"),
        (clip_number("song", "variable"), "attribute 'song' must be a fixed-length text"),
        (clip_number("song", np.zeros(3)), "attribute 'song' must be one value"),
        (time_stamp, "not a readable shard|must be a whole number"),
        (time_stream, "not a readable shard|must be float32"),
        (lambda shard: h5py.h5g.create(shard.id, b"\xff\xfe"), "must be letters|not a readable shard"),
    ],
)
def test_foreign_shards_are_refused_before_any_read(tmp_path, edit, message):
    path = edited(tmp_path, edit)
    with pytest.raises(UserError, match=message) as caught:
        ShardSet(tmp_path, "train")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("pose", np.nan), ("audio", np.inf), ("i3d", -np.inf)])
def test_numbers_that_are_none_are_found_when_they_are_read(tmp_path, name, value):
    def spoil(shard):
        shard[f"clip_001/{name}"][(1, *[0] * (shard[f"clip_001/{name}"].ndim - 1)) if name != "i3d" else (0, 0)] = value

    path = edited(tmp_path, spoil)
    with pytest.raises(UserError, match=f"clip 'clip_001': damaged data .{name} holds NaN or infinite"):
        validate_shard(path, deep=True)
    shards = ShardSet(tmp_path, "train")
    assert shards.read("clip_000")
    with pytest.raises(UserError, match=f"{name} holds NaN or infinite"):
        shards.read("clip_001")


@pytest.mark.parametrize(
    ("name", "place", "value"), [("pose", (1, 0, 0, 2), -0.5), ("pose", (1, 0, 0, 2), 1e30), ("audio", (1,), -1e30)]
)
def test_numbers_beyond_what_a_stream_can_hold_are_found_too(tmp_path, name, place, value):
    path = edited(tmp_path, lambda shard: shard[f"clip_001/{name}"].__setitem__(place, value))
    with pytest.raises(UserError, match=f"clip 'clip_001': damaged data .{name} holds"):
        validate_shard(path, deep=True)
    with pytest.raises(UserError, match=f"{name} holds"):
        ShardSet(tmp_path, "train").read("clip_001")


def test_what_a_shard_claims_must_fit_into_its_file(tmp_path, monkeypatch):
    path = edited(tmp_path, lambda shard: None)
    size = sum(stream.nbytes for clip in h5py.File(path).values() for stream in clip.values())
    shards = ShardSet(tmp_path, "train")
    monkeypatch.setattr(shard_check, "count_bytes", lambda shard: size - 1)
    with pytest.raises(UserError, match="clip_001': declares more numbers than the file has room for"):
        validate_shard(path)
    assert shards.read("clip_000")
    monkeypatch.setattr(shard_check, "count_bytes", lambda shard: size // 2 - 1)
    with pytest.raises(UserError, match="clip_001': declares more numbers than the file has room for"):
        shards.read("clip_001")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_no_shard_at_all(tmp_path, data):
    (tmp_path / "train-00000.h5").write_bytes(data)
    with pytest.raises(UserError, match="not a readable shard"):
        ShardSet(tmp_path, "train")
    with pytest.raises(UserError, match="no shard of the 'test' split"):
        ShardSet(tmp_path, "test")


def test_writer_refuses_and_leaves_nothing(tmp_path):
    path = tmp_path / "train-00000.h5"
    two = [build_clip(1), build_clip(0)]
    with pytest.raises(ValueError, match="sorted by id"):
        write_shard(path, two, ATTRS)
    with pytest.raises(ValueError, match="split 'test' in a shard of 'train'"):
        write_shard(path, [build_clip(0, split="test")], ATTRS)
    with pytest.raises(ValueError, match="pose must be"):
        write_shard(path, [build_clip(0, layout="body25")], ATTRS)
    for change, words in (
        ({"song": "../x"}, "song must be letters"), ({"genre": "a\nb"}, "genre must be one line"), ({"width": 0}, "width must be"),
        ({"height": 10**30}, "height must be"), ({"audio": np.full(88200, np.nan, np.float32)}, "audio holds NaN"),
        ({"i3d": np.zeros((0, 2048), np.float32)}, "i3d must have 1 to"), ({"pose": np.zeros((0, 1, 17, 3), np.float32)}, "frames must be"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            write_shard(path, [replace(build_clip(0), **change)], ATTRS)
    with pytest.raises(ValueError, match="corpus must be letters"):
        write_shard(path, [build_clip(0)], ATTRS | {"corpus": "../x"})
    assert list(tmp_path.iterdir()) == []
