"""A corpus is checked all at once, and its card is counted from the data."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dataset_tools.lib.core import schema
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.shard_io.shard_format import I3D_WIDTH
from dataset_tools.lib.shard_io.stream_files import read_i3d
from dataset_tools.sources import __main__ as sources_command
from dataset_tools.sources import stage as sources
from dataset_tools.sources.card import card_text
from dataset_tools.sources.check import ROWS, check_corpus
from dataset_tools.sources.params import Params
from tests.helpers.builders import build_manifest, build_shards, cut_row
from tests.helpers.footage import numbered_video, spoiled, tone

ROOT = Path(__file__).resolve().parents[3]
FRAMES, SAMPLES = 60, 44_100


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """44 s of few pictures with audio, longer than every clip of the corpus."""
    return numbered_video(tmp_path_factory.mktemp("film") / "film.mp4", 5, 44, tone(44, 8000), 8000)


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """A clip of 60 frames."""
    return numbered_video(tmp_path_factory.mktemp("movie") / "movie.mp4", 30, 2, tone(2))


@pytest.fixture
def layout(tmp_path, film, movie):
    """A corpus of 4 clips of 2 videos, and a folder with every stage's results for it."""
    clips = [
        schema.Clip(clip_id=f"clip_{n:03d}", video_id="ab"[n % 2], song_id=f"song_{n:03d}", start=4.0 * n, end=4.0 * n + 4,
                    dancers=1 + n % 2, official_split="test" if n == 3 else "train")
        for n in range(4)
    ]  # fmt: skip
    folder = build_manifest(tmp_path, "tiny", clips=clips)
    (folder / "media").mkdir()
    for name in "ab":
        shutil.copy(film, folder / "media" / f"{name}.mp4")
    (tmp_path / "params.yaml").write_text("sources: {}\n")
    layout = Layout(root=tmp_path, corpus="tiny")
    sources.sources(layout, Params())
    size = {"bytes": film.stat().st_size, "sha256": file_sha256(film)}
    rows = {"download": [ROWS["download"](id=v, status="ok", **size) for v in "ab"]}
    rows["clips"] = [cut_row(c.clip_id, video_id=c.video_id, song_id=c.song_id, frames=FRAMES) for c in clips[:3]]
    rows["clips"].append(cut_row("clip_003", "failed", reason="too dark"))
    for stage in ("pose", "i3d", "audio"):
        rows[stage] = [ROWS[stage](id=row.id, status=row.status, reason=row.reason) for row in rows["clips"]]
    for stage, items in rows.items():
        target = layout.stage(stage)
        schema.write_records(target / "rows.csv", items)
        for row in items[: 3 if stage != "download" else 2]:
            if stage in ("download", "clips"):
                shutil.copy(film if stage == "download" else movie, target / f"{row.id}.mp4")
            elif stage == "audio":
                soundfile.write(target / f"{row.id}.wav", np.zeros(SAMPLES, np.float32), 22050, subtype="FLOAT")
            else:
                shape = (1, I3D_WIDTH) if stage == "i3d" else (FRAMES, 1, 17, 3)
                np.save(target / f"{row.id}.npy", np.zeros(shape, np.float32))
    build_shards(layout.stage("shards"), 3, corpus="tiny")
    cuts = [
        ROWS["shards"](id=f"clip_{n:03d}", status="ok", shard="train-00000.h5", song=f"song_{n:03d}", split="train")
        for n in range(3)
    ]
    schema.write_records(layout.stage("shards") / "rows.csv", cuts)
    return layout


def test_a_valid_corpus(layout, capsys):
    assert sources_command.main(["--corpus", "tiny", "--root", str(layout.root), "--deep"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1 and "tiny: 2 videos, 4 clips, 4 songs; download 2 of 2 ok; clips 3 of 4 ok" in shown
    assert "15 files opened; 0 errors, 0 notes" in shown


def test_every_broken_rule_of_a_manifest_is_one_line(layout, capsys):
    folder = layout.manifest
    text = (folder / "clips.csv").read_text()
    for old, new in (("clip_000,a,song_000,0.0,4.0", "clip_000,a,song_000,0.0,inf"), ("clip_001,b,song_001", "clip_001,z,song_001"),
                     ("clip_002,a,song_002,8.0", "clip_002,a,song_003,late"), ("12.0,16.0", "12.0,13.0")):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    (folder / "clips.csv").write_text(
        text + "CLIP_003,b,song_009,12.0,16.0,1,train\nclip_004,b,song_003,40,44,1,train\n"
    )
    (folder / "videos.csv").write_text("video_id,url\na,../x.mp4\nb,media/b.mp4\nc,media/b.mp4\n")
    (folder / "published.csv").write_text("quantity,value,source\nclips,99,the paper\ndances,3,the paper\n")
    assert sources_command.main(["--corpus", "tiny", "--root", str(layout.root), "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    errors = [line for line in lines if "error: " in line]
    for words in ("row 2: end must be a finite", "row 4: start must be a finite number, found 'late'", "video_id 'z' is not in",
                  "song_id 'song_009' is not in", "leads out of", "b and c have the same url", "clip_003 and CLIP_003 differ only in case",
                  "song song_003 is in the official test and train part",
                  "published.csv row 3: quantity must be clips, songs, compilations, found 'dances'"):  # fmt: skip
        assert sum(words in line for line in errors) == 1, (words, errors)
    for words in ("clip_003 is 1 s, too short", "clip_003 and CLIP_003 share|CLIP_003 and clip_003 share", "videos.csv: 1 that no clip uses (c)",
                  "songs.csv: 1 that no clip uses (song_002)", "holds 6 clips, the paper says 99"):  # fmt: skip
        assert sum(any(w in line for w in words.split("|")) for line in lines if "note: " in line) == 1, (words, lines)
    assert lines[-1].endswith(f"{len(errors)} errors, 5 notes") and len(errors) == 9


def check(layout, capsys):
    """(errors, notes) that --check says."""
    sources_command.main(["--corpus", "tiny", "--root", str(layout.root), "--check"])
    lines = capsys.readouterr().out.splitlines()
    return tuple([line.split(f"{kind}: ", 1)[1] for line in lines if f"{kind}: " in line] for kind in ("error", "note"))


def test_all_errors_of_a_table_are_said_at_once_and_nothing_that_is_not_so(layout, capsys):
    folder = layout.manifest
    (folder / "songs.csv").write_text(
        f"song_id,genre,tempo\nsong 0,{'x' * 1001},fast\nsong_000,house,0\nsong_001,,\nsong_002,,\nsong_003,,\nsong_003,,\n"
    )
    errors, notes = check(layout, capsys)
    expected = (
        "songs.csv row 2: song_id must be letters", "songs.csv row 2: tempo must be a finite number, found 'fast'",
        "songs.csv row 2: genre must be one line of at most 1000 letters", "songs.csv row 3: tempo must be above 0",
        "songs.csv row 7: song_id 'song_003' occurs twice",
    )  # fmt: skip
    assert len(errors) == 5 and all(words in line for words, line in zip(expected, errors, strict=True)), errors
    assert (
        len(notes) == 1 and "songs.csv: 1 that no clip uses (song 0)" in notes[0]
    )  # song_000 is used, though its row is broken


def test_what_a_broken_row_refers_to_is_checked_too(layout, capsys):
    text = (layout.manifest / "clips.csv").read_text()
    text = text.replace("clip_000,a,song_000,0.0,4.0,1,train", "clip_000,z,song_009,0.0,,1,trian")
    (layout.manifest / "clips.csv").write_text(text)
    errors, notes = check(layout, capsys)
    expected = ("row 2: official_split must be train, val, test or empty, found 'trian'", "clip_000: video_id 'z' is not in",
                "clip_000: song_id 'song_009' is not in", "clip_000: end is empty; give both times or neither")  # fmt: skip
    assert len(errors) == 4 and all(words in line for words, line in zip(expected, errors, strict=True)), errors
    assert len(notes) == 1 and "songs.csv: 1 that no clip uses (song_000)" in notes[0]


def test_a_missing_column_does_not_hide_the_other_cells(layout, capsys):
    text = (
        (layout.manifest / "clips.csv")
        .read_text()
        .replace("start,end", "start,finish")
        .replace("0.0,4.0,1", "soon,4.0,one")
    )
    (layout.manifest / "clips.csv").write_text(text)
    errors, notes = check(layout, capsys)
    expected = (
        "column 'end' is missing",
        "row 2: start must be a finite number",
        "row 2: dancers must be a whole number",
    )
    assert len(errors) == 3 and all(words in line for words, line in zip(expected, errors, strict=True)), errors
    assert notes == []


def test_a_clip_beyond_the_end_of_its_video_is_an_error(layout, capsys):
    path = layout.manifest / "clips.csv"
    path.write_text(path.read_text().replace("12.0,16.0", "40.0,44.2"))
    (error,), _ = check(layout, capsys)
    assert "clips.csv: clip clip_003: ends at 44.2 s, but its video, " in error and error.endswith("b.mp4, at 44.000 s")
    path.write_text(path.read_text().replace("40.0,44.2", "40.0,44.04"))  # its last picture stands in for so little
    assert check(layout, capsys) == ([], [])


def test_a_video_without_audio_or_pictures_is_an_error(layout, capsys):
    numbered_video(layout.manifest / "media" / "a.mp4", 5, 44)
    (layout.manifest / "media" / "b.mp4").write_bytes(b"no film" * 99)
    errors, _ = check(layout, capsys)
    assert len(errors) == 2 and "a.mp4: it has no audio; a clip needs its music" in errors[0]
    assert "b.mp4: not a readable video" in errors[1]


def test_deep_decodes_the_videos(layout, film):
    bad = spoiled(film, layout.root / "bad.mp4", [50, 51])
    shutil.copy(bad, layout.stage("download") / "a.mp4")
    row = layout.stage("download") / "rows.csv"
    row.write_text(row.read_text().replace(file_sha256(film), "", 1))
    assert check_corpus(layout).problems == []
    (line,) = check_corpus(layout, deep=True).problems
    assert re.search(
        r"download/a.mp4: \d+ of its 2\d\d frames are damaged or depend on a damaged frame; the first at \d", line
    )
    shutil.rmtree(layout.root / "data")
    shutil.copy(bad, layout.manifest / "media" / "b.mp4")
    found = check_corpus(layout, deep=True)
    assert len(found.problems) == 1 and "media/b.mp4: " in found.problems[0] and "2 files opened" in found.summary


def damage(layout, case):
    stage, name, how = case
    path = layout.stage(stage) / name
    if isinstance(how, np.ndarray):
        np.save(path, how, allow_pickle=True)
    elif how == "remove":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
    elif how == "add":
        path.write_bytes(b"x")
    else:
        path.write_text(path.read_text().replace(*how))


@pytest.mark.parametrize(
    "cheap, case, words",
    [
        (True, ("clips", "clip_001.mp4", "remove"), "clip_001 is ok in rows.csv, but this file is missing"),
        (True, ("download", "a.mp4", "cut"), "bytes, but rows.csv says"),
        (True, ("pose", "clip_009.npy", "add"), "it has no row in rows.csv"),
        (True, ("audio", "rows.csv", ("clip_003", "clip_004")), "no row for 1 inputs (clip_003, …)"),
        (True, ("shards", "train-00000.h5", "remove"), "train-00000.h5: clip_002 is ok in rows.csv, but this file is missing"),
        (True, ("shards", "rows.csv", ("train,song_001", "test,song_000")), "song song_000 is in the test and train parts"),
        (False, ("download", "b.mp4", "flip"), "its sha256 differs from the one in rows.csv"),
        (False, ("clips", "clip_000.mp4", "cut"), "cut short: 100 bytes are missing"),
        (False, ("clips", "rows.csv", ("clip_001,ok,,b,song_001,,,60", "clip_001,ok,,b,song_001,,,61")), "holds 60 frames, but rows.csv says 61"),
        (False, ("pose", "clip_000.npy", np.zeros((9, 1, 17, 3), np.float32)), "pose of 9 frames, expected 60"),
        (False, ("pose", "clip_000.npy", np.zeros((60, 1, 9, 3), np.float32)), "must be float32 (T, P, J, 3)"),
        (False, ("pose", "clip_000.motion.npy", np.zeros((59, 2, 219), np.float32)), "motion of 59 frames, expected 60"),
        (False, ("pose", "clip_000.motion.npy", np.zeros((60, 219), np.float32)), "must be float32 (T, R, 219)"),
        (False, ("i3d", "clip_000.npy", np.full((1, I3D_WIDTH), np.nan, np.float32)), "i3d with nan or inf"),
        (False, ("i3d", "clip_001.npy", np.array([{}])), "is not readable"),
        (False, ("audio", "clip_002.wav", "cut"), "44075 samples, expected 44100"),
        (False, ("shards", "train-00000.h5", "flip"), "rebuild it with python -m dataset_tools.shards"),
    ],
)  # fmt: skip
def test_damage_is_found(layout, cheap, case, words):
    damage(layout, case)
    found = check_corpus(layout, deep=not cheap).problems
    assert any(words in line for line in found), found
    assert all(line.isprintable() for line in found)


def test_numpys_advice_to_unpickle_what_is_no_array_is_not_passed_on(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"no array " * 99)
    with pytest.raises(
        ValueError, match="i3d: a.npy is not readable: not a .npy file, an array of numbers; save it with numpy.save$"
    ):
        read_i3d(tmp_path / "a.npy")


def _own_sheet(corpus):
    manifest = load_manifest(ROOT / "manifests" / corpus, clip=schema.ListedClip)
    if corpus == "tiktok" and (
        any(clip.start is not None for clip in manifest.clips) or any(video.url for video in manifest.videos)
    ):
        pytest.skip("an annotation sheet was imported into this clone: its card is its own")


@pytest.mark.parametrize("corpus", ["demo", "tiktok", "aistpp"])
def test_committed_cards_are_what_the_manifests_say(tmp_path, corpus):
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    _own_sheet(corpus)
    text = card_text(Layout(root=tmp_path, corpus=corpus))
    committed = (ROOT / "docs" / "corpora" / f"{corpus}.md").read_text()
    committed = re.sub(
        r"## Measured\n.*?(?=Written by)", "", committed, flags=re.DOTALL
    )  # a card may have been drawn where stages ran
    assert text == committed, f"run sources --corpus {corpus} --card"
    assert (ROOT / "docs" / "corpora" / f"{corpus}.png").read_bytes().startswith(b"\x89PNG")


def test_the_real_corpus_in_numbers():
    _own_sheet("tiktok")
    text = (ROOT / "docs" / "corpora" / "tiktok.md").read_text()
    for line in ("| compilations | 15 |", "| clips | 445 |", "| songs | 86 |", "| train | 392 | 43 | 15 | at least 1.32 (2384 segments",
                 "| test | 53 | 43 | 4 | at least 0.17 (307 segments", "Songs in more than one part: 0.",
                 "Compilations in more than one part: 4 (000007, 000009, 000010, 000011).",
                 "the clip list holds 86 songs, the paper (Zhu et al., ECCV 2022) says 85"):  # fmt: skip
        assert line in text
    text = (ROOT / "docs" / "corpora" / "aistpp.md").read_text()
    for line in (
        "| train | 980 | 50 | 980 | at least 3.68 (6632 segments of 2 s) |",
        "| test | 20 | 10 | 20 | at least 0.05 (86 segments",
    ):
        assert line in text


def test_a_card_with_data_says_what_became_of_it(layout, capsys):
    assert sources_command.main(["--corpus", "tiny", "--root", str(layout.root), "--card"]) == 0
    text = (layout.root / "docs" / "corpora" / "tiny.md").read_text()
    assert "| clips | 3 of 4 | 1 failed | too dark (1) |" in text and "| hours | 0.004 |" in text
    assert "Cut clips: 0.002 hours" in text and "licence | not stated" in text and str(layout.root) not in text
    for wrong in ("licence: ours\nknown_problem: [x]\n", "description:\n", "known_problems: old\n"):
        (layout.manifest / "card.yaml").write_text(wrong)
        with pytest.raises(ValueError, match="card.yaml: expected title, description"):
            sources_command.main(["--corpus", "tiny", "--root", str(layout.root), "--card"])
