"""With an index a set opens no shard; without a right one it reads them all; what an index says wrongly is found before it is used."""

import json

import numpy as np
import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io import shard_check, shard_index, shard_set
from dataset_tools.lib.shard_io.shard_format import write_shard
from dataset_tools.lib.shard_io.shard_index import INDEX, describe_shard, write_index
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.dataset_tools.lib.shard_io.test_shard_format import ATTRS
from tests.helpers.builders import build_clip


@pytest.fixture
def folder(tmp_path):
    """Five shards of two clips each, with an index."""
    for number in range(5):
        clips = [build_clip(2 * number + part, seconds=2) for part in range(2)]
        write_shard(tmp_path / f"train-{number:05d}.h5", clips, ATTRS)
    write_index(tmp_path, {path.name: describe_shard(path) for path in tmp_path.glob("*.h5")})
    return tmp_path


def edit(folder, change):
    """Change the parsed index."""
    content = json.loads((folder / INDEX).read_text())
    change(content["shards"])
    (folder / INDEX).write_text(json.dumps(content))


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that were opened."""
    names, real = [], shard_check.open_shard
    monkeypatch.setattr(shard_check, "open_shard", lambda path: names.append(path.name) or real(path))
    return names


def test_a_set_with_an_index_opens_only_what_is_read(folder, opened):
    shards = ShardSet(folder, "train")
    assert opened == [] and len(shards.clips) == 10
    for clip_id in ("clip_004", "clip_005"):
        assert np.array_equal(shards.read(clip_id).audio, build_clip(int(clip_id[-3:]), seconds=2).audio)
    assert opened == ["train-00002.h5"]


def test_the_index_says_what_the_files_say(folder):
    with_index = ShardSet(folder, "train")
    (folder / INDEX).unlink()
    without = ShardSet(folder, "train")
    assert with_index.infos == without.infos and with_index.info == without.info and with_index.clips == without.clips


def test_no_more_than_so_many_files_are_open(folder, opened, monkeypatch):
    monkeypatch.setattr(shard_set, "MAX_OPEN", 2)
    shards = ShardSet(folder, "train", memory=0)
    for _ in range(2):
        for number in range(10):
            assert shards.read(f"clip_{number:03d}").pose.any() and len(shards._open) <= 2
    assert len(opened) == 10
    assert shards.read("clip_009").pose.any() and len(opened) == 10  # still open


def remove_entry(entries):
    del entries["train-00003.h5"]


def add_entry(entries):
    entries["train-00005.h5"] = entries["train-00004.h5"]


def other_size(entries):
    entries["train-00002.h5"]["bytes"] += 1


def entry_of(**columns):
    return lambda entries: entries["train-00001.h5"].update(columns)


def all_of(**columns):
    return lambda entries: [entry.update(columns) for entry in entries.values()]


def clip_of(name, value):
    return lambda entries: entries["train-00001.h5"]["clips"][name].__setitem__(1, value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (remove_entry, "has no entry for train-00003.h5"),
        (add_entry, "has an entry for train-00005.h5, which is not there"),
        (other_size, "train-00002.h5 has"),
        (entry_of(people="2"), "whole numbers"),
        (entry_of(people=2.0), "whole numbers"),
        (entry_of(motion_rate=-30), "motion_rate must be 0 to"),
        (lambda entries: entries["train-00001.h5"].pop("bytes"), "has no 'bytes'"),
        (lambda entries: entries["train-00001.h5"]["clips"].pop("width"), "has no 'width'"),
        (lambda entries: entries.update({"train-00001.h5": []}), "list indices"),
        (entry_of(sha256="../../etc"), "sha256"),
        (entry_of(sha256=None), "expected string"),
        (entry_of(split="test"), "split must be train"),
        (entry_of(pose_layout=["coco17"]), "attributes"),
        (entry_of(clips=[]), "list indices"),
        (entry_of(clips={"clip_id": []}), "1 to"),
        (clip_of("clip_id", "x/../../etc"), "clip_id must be letters"),
        (clip_of("clip_id", "clip_002"), "sorted by id"),
        (clip_of("song", None), "song must be letters"),
        (clip_of("genre", 7), "genre must be a text"),
        (clip_of("frames", 10**30), "frames must be 1 to"),
        (clip_of("frames", True), "whole numbers"),
    ],
)  # fmt: skip
def test_an_index_that_does_not_fit_is_said_in_one_line_and_not_used(folder, capsys, opened, change, reason):
    edit(folder, change)
    shards = ShardSet(folder, "train")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {folder / INDEX}: ") and reason in line and "reading all 5 shards instead" in line
    assert len(opened) == 5 and np.array_equal(shards.read("clip_003").audio, build_clip(3, seconds=2).audio)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"schema": "d2m-shard-index/1", "shards": []}', b"\xff", b"[" * 999]
)
def test_a_file_that_is_no_index_is_not_used(folder, capsys, content):
    (folder / INDEX).write_bytes(content)
    assert len(ShardSet(folder, "train").clips) == 10
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (clip_of("frames", 59), "clip 'clip_003' differs"),
        (clip_of("song", "another"), "clip 'clip_003' differs"),
        (clip_of("clip_id", "clip_003x"), "clip 'clip_003x' is missing"),
        (all_of(pose_weights="others"), "index.json describes"),
        (all_of(people=3), "pose must be float32"),
    ],
)
def test_what_an_index_says_wrongly_of_a_file_is_found_when_the_file_is_read(folder, change, reason):
    edit(folder, change)
    shards = ShardSet(folder, "train")
    clip_id = next(clip.clip_id for clip in shards.clips if clip.clip_id.startswith("clip_003"))
    with pytest.raises(UserError, match=reason) as err:
        shards.read(clip_id)
    assert "train-00001.h5" in str(err.value) and "\n" not in str(err.value)


def test_a_shard_that_was_replaced_by_one_of_the_same_size_is_noticed(folder):
    path = folder / "train-00001.h5"
    other = [build_clip(number, seconds=2, split="train") for number in (6, 7)]
    write_shard(folder / "other.h5", other, ATTRS)
    assert (folder / "other.h5").stat().st_size == path.stat().st_size
    (folder / "other.h5").replace(path)
    with pytest.raises(
        UserError, match=r"train-00001.h5: clip 'clip_002' is missing; .* run python -m dataset_tools.shards"
    ):
        ShardSet(folder, "train").read("clip_002")


def test_the_index_is_written_in_order(tmp_path):
    write_index(tmp_path, {"b": {"y": 1, "x": [2]}, "a": {}})
    assert json.loads((tmp_path / INDEX).read_text()) == {
        "schema": shard_index.SCHEMA,
        "shards": {"a": {}, "b": {"x": [2], "y": 1}},
    }
    assert list(json.loads((tmp_path / INDEX).read_text())["shards"]) == ["a", "b"]
