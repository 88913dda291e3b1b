"""Splits: whole songs, even shares, the official labels of the TikTok corpus, one line for every refusal."""

import csv
import json
import shutil

import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.lib.core.schema import Clip
from dataset_tools.split import __main__ as split_command
from dataset_tools.split import stage as split
from dataset_tools.split.params import Params
from dataset_tools.split.rows import SplitRow
from dataset_tools.split.strategies import Item, find_leaks
from dataset_tools.split.summary import summarise
from tests.helpers.builders import build_manifest, tiktok_as_published


def items(songs: int, clips: int, *, videos: int = 3, seconds: float | None = 5.0) -> list[Item]:
    """`clips` clips of each of `songs` songs, songs dealt over videos; song k has clips k % 3 + 1 times as long."""
    return [
        Item(
            clip_id=f"c{song:02d}_{n}",
            song_id=f"s{song:02d}",
            video_id=f"v{song % videos}",
            official_split="test" if song % 4 == 3 else "train",
            seconds=None if seconds is None else seconds * (song % 3 + 1),
        )
        for song in range(songs)
        for n in range(clips)
    ]


def parts(rows: list[SplitRow], attribute: str = "clip_id") -> dict[str, set[str]]:
    found = {}
    for row in rows:
        found.setdefault(row.split, set()).add(getattr(row, attribute))
    return found


def test_official_tiktok_split(tmp_path, capsys):
    out = tmp_path / "split.csv"
    code = split_command.main(
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
    params = Params(strategy="random", seed=seed, test_fraction=0.25, balance=balance)
    rows = split.assign_parts(corpus, params, "clips.csv")
    songs = parts(rows, "song_id")
    assert not songs["train"] & songs["test"]
    assert {row.clip_id for row in rows} == {item.clip_id for item in corpus}
    weight = {item.clip_id: 1 if balance == "clips" else item.seconds for item in corpus}
    share = sum(weight[row.clip_id] for row in rows if row.split == "test") / sum(weight.values())
    heaviest = 3 * (1 if balance == "clips" else 15.0) / sum(weight.values())
    assert abs(share - 0.25) <= heaviest / 2


def test_random_split_follows_its_seed():
    corpus = items(songs=12, clips=2)
    made = [split.assign_parts(corpus, Params(strategy="random", seed=s), "x") for s in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert made[0] == split.assign_parts(corpus[::-1], Params(strategy="random", seed=1), "x")


@pytest.mark.parametrize("balance", ["clips", "seconds"])
def test_folds_cover_every_clip_once_and_are_even(balance):
    corpus = items(songs=20, clips=2)
    weight = {item.clip_id: 1 if balance == "clips" else item.seconds for item in corpus}
    tests, sizes = [], []
    for fold in range(4):
        params = Params(strategy="kfold", folds=4, fold=fold, seed=3, balance=balance)
        test = parts(split.assign_parts(corpus, params, "x"))["test"]
        tests += sorted(test)
        sizes.append(sum(weight[clip] for clip in test))
    assert sorted(tests) == sorted(weight)
    assert max(sizes) - min(sizes) <= max(2 * weight[clip] for clip in weight)


def test_hold_out_compilation_keeps_videos_whole_through_shared_songs():
    corpus = items(songs=12, clips=2, videos=6)
    corpus.append(Item(clip_id="extra", song_id="s00", video_id="v1"))  # s00 joins v0 and v1
    for seed in range(20):
        params = Params(strategy="random", seed=seed, test_fraction=0.3, hold_out="compilation")
        rows = split.assign_parts(corpus, params, "x")
        assert (
            find_leaks(corpus, {row.clip_id: row.split for row in rows}, "video_id")
            == []
            == find_leaks(corpus, {row.clip_id: row.split for row in rows}, "song_id")
        )
        part = {row.clip_id: row.split for row in rows}
        assert part["extra"] == part["c00_0"] == part["c01_0"]


def test_val_may_share_songs_with_test_but_not_with_training():
    known = items(8, 2)
    rows = split.assign_parts(
        [*known, Item(clip_id="v", song_id="s03", video_id="v9", official_split="val")], Params(), "clips.csv"
    )
    assert {row.split for row in rows if row.song_id == "s03"} == {"val", "test"}
    remarks = summarise([*known, Item(clip_id="v", song_id="s03", video_id="v9", official_split="val")], rows, [])[
        "remarks"
    ]
    assert any("val and test share 1 songs" in remark for remark in remarks)
    with pytest.raises(UserError, match="1 songs are in training and in another part"):
        split.assign_parts(
            [*known, Item(clip_id="v", song_id="s00", video_id="v9", official_split="val")], Params(), "clips.csv"
        )


@pytest.mark.parametrize(
    ("corpus", "params", "message"),
    [
        (items(1, 3), {"strategy": "random"}, "part of the random split by song is empty"),
        (items(3, 2), {"strategy": "official"}, "the test part"),
        (items(0, 0), {"strategy": "official"}, "is empty"),
        (items(3, 2), {"strategy": "kfold", "folds": 5, "fold": 0}, "5 folds of 3 songs: some would be empty"),
        (items(6, 2, videos=1), {"strategy": "random", "hold_out": "compilation"}, "by compilation is empty"),
        (
            items(6, 2),
            {"strategy": "official", "hold_out": "compilation"},
            "compilations are in training and in another part",
        ),
        (items(6, 2, seconds=None), {"strategy": "random", "balance": "seconds"}, "use --balance clips"),
        (
            [*items(8, 2), Item(clip_id="z", song_id="s00", video_id="v0", official_split="test")],
            {"strategy": "official"},
            "'s00'",
        ),
        ([*items(8, 2), Item(clip_id="z", song_id="s99", video_id="v0")], {"strategy": "official"}, "'z'"),
    ],
)
def test_refusals(corpus, params, message):
    with pytest.raises(UserError, match=message) as caught:
        split.assign_parts(corpus, Params(**params), "clips.csv")
    assert str(caught.value).startswith("clips.csv: ") and "\n" not in str(caught.value)


def test_empty_split_writes_nothing_and_exits_2(tmp_path):
    clips = [Clip(clip_id=f"c{n}", video_id="v", song_id=f"s{n}", official_split="train") for n in range(3)]
    build_manifest(tmp_path, clips=clips)
    out = tmp_path / "split.csv"
    with pytest.raises(UserError, match="test part of the official split by song is empty"):
        split_command.main(["--root", str(tmp_path), "--corpus", "tiny", "--out", str(out)])
    assert not out.exists()


def test_bad_parameters_are_one_line(tmp_path):
    build_manifest(tmp_path)
    base = ["--root", str(tmp_path), "--corpus", "tiny", "--out", str(tmp_path / "x.csv")]
    with pytest.raises(UserError, match="test_fraction must be between 0 and 1"):
        split_command.main([*base, "--strategy", "random", "--test-fraction", "1.5"])
    with pytest.raises(UserError, match="unknown corpus 'nowhere'"):
        split_command.main(["--root", str(tmp_path), "--corpus", "nowhere", "--out", str(tmp_path / "x.csv")])


def test_missing_manifest_column_is_named(tmp_path):
    folder = build_manifest(tmp_path)
    (folder / "clips.csv").write_text("clip_id,video_id\na,b\n")
    with pytest.raises(UserError, match="column 'song_id' is missing"):
        split_command.main(["--root", str(tmp_path), "--corpus", "tiny", "--out", str(tmp_path / "x.csv")])


def test_stage_splits_only_the_clips_that_were_cut(tmp_path):
    build_manifest(tmp_path)
    (tmp_path / "params.yaml").write_text("split: {strategy: official}\n")
    folder = tmp_path / "data" / "tiny" / "clips"
    folder.mkdir(parents=True)
    lines = ["id,status,reason,video_id,song_id,genre,official_split,frames"]
    lines += [f"clip_{n},ok,,v0,song_{n},house,{'test' if n == 2 else 'train'},120" for n in range(3)]
    lines += ["clip_9,failed,past the end,v0,song_9,house,test,"]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    assert split_command.main(["--root", str(tmp_path), "--corpus", "tiny"]) == 0
    made = tmp_path / "data" / "tiny" / "split"
    assert (made / "split.csv").read_text() == (
        "clip_id,song_id,split\nclip_0,song_0,train\nclip_1,song_1,train\nclip_2,song_2,test\n"
    )
    summary = json.loads((made / "summary.json").read_text())
    assert summary["parts"]["train"] == {"clips": 2, "songs": 2, "compilations": 1, "seconds": 8.0}
    before = (made / "summary.json").read_bytes()
    shutil.rmtree(made)
    split_command.main(["--root", str(tmp_path), "--corpus", "tiny"])
    assert (made / "summary.json").read_bytes() == before


def test_lengths_of_a_manifest_without_times_are_those_of_its_segments(tmp_path, capsys):
    out = tmp_path / "split.csv"
    tiktok_as_published(tmp_path / "manifests" / "tiktok")
    base = ["--root", str(tmp_path), "--corpus", "tiktok", "--out", str(out), "--json"]
    assert split_command.main([*base, "--strategy", "random", "--balance", "seconds", "--test-fraction", "0.25"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert parts["test"]["seconds"] + parts["train"]["seconds"] == 2 * (2384 + 307)
    assert parts["test"]["seconds"] == pytest.approx(0.25 * 5382, abs=20)


def test_kfold_says_of_every_clip_when_it_is_test(tmp_path):
    found = []
    for fold in range(3):
        out = tmp_path / f"{fold}.csv"
        base = ["--root", str(PROJECT), "--corpus", "tiktok", "--strategy", "kfold", "--folds", "3"]
        split_command.main([*base, "--fold", str(fold), "--out", str(out)])
        with open(out, newline="") as handle:
            found.append(list(csv.DictReader(handle)))
    for fold, rows in enumerate(found):
        assert [row["fold"] for row in rows] == [row["fold"] for row in found[0]]
        assert all((row["split"] == "test") == (row["fold"] == str(fold)) for row in rows)


def test_official_remarks_name_the_compilations_in_both_parts(tmp_path, capsys):
    split_command.main(["--root", str(PROJECT), "--corpus", "tiktok", "--out", str(tmp_path / "x.csv")])
    said = capsys.readouterr().out
    assert "songs in training and another part: 0" in said and "not checked" in said
    assert "4 of the 4 compilations of the test part are also in the training part" in said
    assert "holds 86 songs" in said and "says 85" in said


def test_a_folder_as_out_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        split_command.main(["--root", str(PROJECT), "--corpus", "tiktok", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("asked", "idle"),
    [
        (["official", "--seed", "3", "--folds", "4"], "--seed, --folds has no effect with --strategy official"),
        (["random", "--fold", "1"], "--fold has no effect with --strategy random"),
        (["kfold", "--test-fraction", "0.3"], "--test-fraction has no effect with --strategy kfold"),
    ],
)
def test_an_option_that_the_strategy_does_not_read_is_refused(tmp_path, asked, idle):
    out = tmp_path / "x.csv"
    with pytest.raises(UserError, match=idle):
        split_command.main(["--root", str(PROJECT), "--corpus", "tiktok", "--out", str(out), "--strategy", *asked])
    assert not out.exists()
