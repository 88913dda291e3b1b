"""One recording under two song ids is heard: refused, merged, or left where nobody asks."""

import csv
import json
import shutil

import numpy as np
import pytest
import soundfile
import soxr

from dataset_tools.demo.music.songs import compose, synthesise
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.schema import Clip
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split import __main__ as split_command
from dataset_tools.split import kept_prints
from tests.helpers.builders import build_manifest


@pytest.fixture(scope="module")
def songs():
    """Three songs of 8 s, and the first again, a little faster."""
    made = [synthesise(compose(seed, "house", seconds=8.0), SAMPLE_RATE) for seed in range(3)]
    return [*made, soxr.resample(made[0], SAMPLE_RATE * 1.03, SAMPLE_RATE)]


@pytest.fixture
def heard(tmp_path, songs):
    """A corpus of those four songs with audio, where song_3 (test) is song_0 (train) again."""
    clips = [
        Clip(clip_id=f"clip_{n}", video_id="v", song_id=f"song_{n % 4}", official_split="train" if n % 4 < 2 else "test",
             start=9.0 * n, end=9.0 * n + 8)
        for n in range(8)
    ]  # fmt: skip
    build_manifest(tmp_path, clips=clips)
    audio = tmp_path / "data" / "tiny" / "audio"
    audio.mkdir(parents=True)
    for n in range(8):  # clip n has song n % 4
        soundfile.write(audio / f"clip_{n}.wav", songs[n % 4][n * 2000 :], SAMPLE_RATE, subtype="FLOAT")
    return tmp_path


def run_heard(root, *args):
    out = root / "x.csv"
    split_command.main(["--root", str(root), "--corpus", "tiny", "--out", str(out), "--json", *args])
    with open(out, newline="") as handle:
        return {row["clip_id"]: row for row in csv.DictReader(handle)}


def test_one_recording_in_two_parts_is_refused(heard):
    with pytest.raises(UserError, match="'song_0' and 'song_3' sound like the same recording") as caught:
        run_heard(heard)
    assert "\n" not in str(caught.value) and not (heard / "x.csv").exists()


def test_one_recording_under_two_ids_is_merged(heard, capsys):
    rows = run_heard(heard, "--same-recording", "merge")
    assert {row["split"] for row in rows.values() if row["song_id"] in ("song_0", "song_3")} == {"train"}
    summary = json.loads(capsys.readouterr().out)
    assert summary["shared_songs"] == 0 and summary["by_ear"]["clips"] == 8
    assert {frozenset(pair["songs"]) for pair in summary["by_ear"]["same"]} == {frozenset(("song_0", "song_3"))}
    pair = summary["by_ear"]["same"][0]
    tempo = pair["tempo"] if pair["songs"][0] == "song_3" else 1 / pair["tempo"]
    assert tempo == pytest.approx(1.03, abs=0.011)
    for seed in range(6):
        rows = run_heard(heard, "--same-recording", "merge", "--strategy", "random", "--seed", str(seed))
        assert len({row["split"] for row in rows.values() if row["song_id"] in ("song_0", "song_3")}) == 1


def test_ignore_does_not_listen_and_an_explicit_wish_needs_audio(heard, tmp_path):
    assert run_heard(heard, "--same-recording", "ignore")["clip_3"]["split"] == "test"
    shutil.rmtree(heard / "data")
    assert run_heard(heard)["clip_3"]["split"] == "test"
    with pytest.raises(UserError, match=r"no audio in .*; run python -m dataset_tools\.audio"):
        run_heard(heard, "--same-recording", "merge")


def test_refuse_lets_a_double_stay_within_one_part(heard, capsys):
    rows = {}
    for seed in range(40):
        try:
            rows = run_heard(heard, "--strategy", "random", "--seed", str(seed), "--test-fraction", "0.5")
            break
        except UserError:
            continue
    part = rows["clip_0"]["split"]
    assert part == rows["clip_3"]["split"]
    summary = json.loads(capsys.readouterr().out)
    assert summary["by_ear"]["same"]
    (said,) = [remark for remark in summary["remarks"] if "one recording under two ids" in remark]
    assert said.startswith(f"songs song_0 and song_3 are one recording under two ids, in {part} alone")
    run_heard(heard, "--same-recording", "merge")
    assert "under two ids" not in capsys.readouterr().out


@pytest.mark.parametrize("damage", [b"", b"RIFF", b"no audio"])
def test_audio_that_cannot_be_heard_is_one_line(tmp_path, damage):
    (tmp_path / "a.wav").write_bytes(damage)
    with pytest.raises(UserError, match="a.wav: not readable"):
        kept_prints._read_audio(tmp_path / "a.wav")
    none = "not readable .holds samples that are NaN, infinite"
    for samples, rule in (
        (np.full(100, np.nan), none),
        (np.full(100, np.inf), none),
        (np.zeros((100, 2)), "must be mono at 22050 Hz, found 2 channels"),
    ):
        soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
        with pytest.raises(UserError, match=f"a.wav: {rule}"):
            kept_prints._read_audio(tmp_path / "a.wav")
