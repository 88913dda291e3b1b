"""Splits: whole songs, even shares, the official labels of the TikTok corpus, one line for every refusal."""

import csv
import json
import shutil

import pytest
from builders import build_manifest

from dataset_tools import split
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import PROJECT
from dataset_tools.base.schema import Clip


def items(songs: int, clips: int, *, videos: int = 3, seconds: float | None = 5.0) -> list[split.Item]:
    """`clips` clips of each of `songs` songs, songs dealt over videos; song k has clips k % 3 + 1 times as long."""
    return [
        split.Item(
            clip_id=f"c{song:02d}_{n}",
            song_id=f"s{song:02d}",
            video_id=f"v{song % videos}",
            official_split="test" if song % 4 == 3 else "train",
            seconds=None if seconds is None else seconds * (song % 3 + 1),
        )
        for song in range(songs)
        for n in range(clips)
    ]


def parts(rows: list[split.SplitRow], attribute: str = "clip_id") -> dict[str, set[str]]:
    found = {}
    for row in rows:
        found.setdefault(row.split, set()).add(getattr(row, attribute))
    return found


def test_official_tiktok_split(tmp_path, capsys):
    out = tmp_path / "split.csv"
    code = split.main(
        ["--root", str(PROJECT), "--corpus", "tiktok", "--strategy", "official", "--out", str(out), "--json"]
    )
    summary = json.loads(capsys.readouterr().out)
    with open(out, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert code == 0 and list(rows[0]) == ["clip_id", "song_id", "split"]
    assert [sum(row["split"] == part for row in rows) for part in ("train", "test")] == [392, 53]
    assert not {r["song_id"] for r in rows if r["split"] == "train"} & {
        r["song_id"] for r in rows if r["split"] == "test"
    }
    assert summary["shared_songs"] == 0 and len(summary["shared_compilations"]) == 4
    assert any("86 songs" in remark and "85" in remark for remark in summary["remarks"])


@pytest.mark.parametrize("balance", ["clips", "seconds"])
@pytest.mark.parametrize("seed", range(40))
def test_random_split_keeps_songs_whole_and_near_the_fraction(seed, balance):
    corpus = items(songs=17, clips=3)
    params = split.Params(strategy="random", seed=seed, test_fraction=0.25, balance=balance)
    rows = split.assign(corpus, params, "clips.csv")
    songs = parts(rows, "song_id")
    assert not songs["train"] & songs["test"]
    assert {row.clip_id for row in rows} == {item.clip_id for item in corpus}
    weight = {item.clip_id: 1 if balance == "clips" else item.seconds for item in corpus}
    share = sum(weight[row.clip_id] for row in rows if row.split == "test") / sum(weight.values())
    heaviest = 3 * (1 if balance == "clips" else 15.0) / sum(weight.values())
    assert abs(share - 0.25) <= heaviest / 2


def test_random_split_follows_its_seed():
    corpus = items(songs=12, clips=2)
    made = [split.assign(corpus, split.Params(strategy="random", seed=s), "x") for s in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert made[0] == split.assign(corpus[::-1], split.Params(strategy="random", seed=1), "x")


@pytest.mark.parametrize("balance", ["clips", "seconds"])
def test_folds_cover_every_clip_once_and_are_even(balance):
    corpus = items(songs=20, clips=2)
    weight = {item.clip_id: 1 if balance == "clips" else item.seconds for item in corpus}
    tests, sizes = [], []
    for fold in range(4):
        params = split.Params(strategy="kfold", folds=4, fold=fold, seed=3, balance=balance)
        test = parts(split.assign(corpus, params, "x"))["test"]
        tests += sorted(test)
        sizes.append(sum(weight[clip] for clip in test))
    assert sorted(tests) == sorted(weight)
    assert max(sizes) - min(sizes) <= max(2 * weight[clip] for clip in weight)


def test_hold_out_compilation_keeps_videos_whole_through_shared_songs():
    corpus = items(songs=12, clips=2, videos=6)
    corpus.append(split.Item(clip_id="extra", song_id="s00", video_id="v1"))  # s00 joins v0 and v1
    for seed in range(20):
        params = split.Params(strategy="random", seed=seed, test_fraction=0.3, hold_out="compilation")
        rows = split.assign(corpus, params, "x")
        assert split.shared(corpus, rows, "video_id") == [] == split.shared(corpus, rows, "song_id")
        part = {row.clip_id: row.split for row in rows}
        assert part["extra"] == part["c00_0"] == part["c01_0"]


@pytest.mark.parametrize(
    ("corpus", "params", "message"),
    [
        (items(1, 3), {"strategy": "random"}, "part of the random split by song is empty"),
        (items(3, 2), {"strategy": "official"}, "the test part"),
        (items(0, 0), {"strategy": "official"}, "is empty"),
        (items(3, 2), {"strategy": "kfold", "folds": 5, "fold": 4}, "the test part"),
        (items(6, 2, videos=1), {"strategy": "random", "hold_out": "compilation"}, "by compilation is empty"),
        (items(6, 2), {"strategy": "official", "hold_out": "compilation"}, "compilations are in more than one part"),
        (items(6, 2, seconds=None), {"strategy": "random", "balance": "seconds"}, "use --balance clips"),
        (
            [*items(8, 2), split.Item(clip_id="z", song_id="s00", video_id="v0", official_split="test")],
            {"strategy": "official"},
            "'s00'",
        ),
        ([*items(8, 2), split.Item(clip_id="z", song_id="s99", video_id="v0")], {"strategy": "official"}, "'z'"),
    ],
)
def test_refusals(corpus, params, message):
    with pytest.raises(UserError, match=message) as caught:
        split.assign(corpus, split.Params(**params), "clips.csv")
    assert str(caught.value).startswith("clips.csv: ") and "\n" not in str(caught.value)


def test_empty_split_writes_nothing_and_exits_2(tmp_path):
    clips = [Clip(clip_id=f"c{n}", video_id="v", song_id=f"s{n}", official_split="train") for n in range(3)]
    build_manifest(tmp_path, clips=clips)
    out = tmp_path / "split.csv"
    with pytest.raises(UserError, match="test part of the official split by song is empty"):
        split.main(["--root", str(tmp_path), "--corpus", "tiny", "--out", str(out)])
    assert not out.exists()


def test_bad_parameters_are_one_line(tmp_path):
    build_manifest(tmp_path)
    base = ["--root", str(tmp_path), "--corpus", "tiny", "--out", str(tmp_path / "x.csv")]
    with pytest.raises(UserError, match="test_fraction must be between 0 and 1"):
        split.main([*base, "--strategy", "random", "--test-fraction", "1.5"])
    with pytest.raises(UserError, match="unknown corpus 'nowhere'"):
        split.main(["--root", str(tmp_path), "--corpus", "nowhere", "--out", str(tmp_path / "x.csv")])


def test_missing_manifest_column_is_named(tmp_path):
    folder = build_manifest(tmp_path)
    (folder / "clips.csv").write_text("clip_id,video_id\na,b\n")
    with pytest.raises(UserError, match="column 'song_id' is missing"):
        split.main(["--root", str(tmp_path), "--corpus", "tiny", "--out", str(tmp_path / "x.csv")])


def test_stage_splits_only_the_clips_that_were_cut(tmp_path):
    build_manifest(tmp_path)
    (tmp_path / "params.yaml").write_text("split: {strategy: official}\n")
    folder = tmp_path / "data" / "tiny" / "clips"
    folder.mkdir(parents=True)
    lines = ["id,status,reason,video_id,song_id,genre,official_split,frames"]
    lines += [f"clip_{n},ok,,v0,song_{n},house,{'test' if n == 2 else 'train'},120" for n in range(3)]
    lines += ["clip_9,failed,past the end,v0,song_9,house,test,"]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    assert split.main(["--root", str(tmp_path), "--corpus", "tiny"]) == 0
    made = tmp_path / "data" / "tiny" / "split"
    assert (made / "split.csv").read_text() == (
        "clip_id,song_id,split\nclip_0,song_0,train\nclip_1,song_1,train\nclip_2,song_2,test\n"
    )
    summary = json.loads((made / "summary.json").read_text())
    assert summary["parts"]["train"] == {"clips": 2, "songs": 2, "compilations": 1, "seconds": 8.0}
    before = (made / "summary.json").read_bytes()
    shutil.rmtree(made)
    split.main(["--root", str(tmp_path), "--corpus", "tiny"])
    assert (made / "summary.json").read_bytes() == before
