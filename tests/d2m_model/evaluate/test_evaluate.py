"""The command on folders of audio files: what it scores, what it says, what it refuses."""

import json
import os

import numpy as np
import pytest
import soundfile

from d2m_model.evaluate import __main__ as evaluate_command
from d2m_model.metrics.inputs import true_beats
from d2m_model.metrics.paired_folders import read_systems
from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.core.errors import UserError
from tests.helpers.builders import beats_of, click_train

RATE = 22050


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Scores are kept under the working folder: each test has its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def audio():
    """Three songs of clicks, 3 s each."""
    return {f"c{n}": click_train(beats_of(n, 3.0) + 0.05 * n, 3 * RATE) for n in range(3)}


def write_folder(folder, audio, rate=RATE):
    folder.mkdir(exist_ok=True)
    for name, wave in audio.items():
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / f"{name}.wav", wave, rate)
    return folder


@pytest.fixture
def score(tmp_path, capsys):
    """score(generated, reference, ...) -> (scores, what was printed)."""

    def call(generated, reference, *more):
        out = tmp_path / "scores.json"
        assert (
            evaluate_command.main(
                ["--generated", str(generated), "--reference", str(reference), "--json", str(out), *more]
            )
            == 0
        )
        return json.loads(out.read_text()), capsys.readouterr().out

    return call


def test_folders_are_scored_and_said_what_was_done_to_them(tmp_path, audio, score):
    stereo = np.repeat(np.stack([audio["c0"], 0 * audio["c0"]], axis=1), 2, axis=0)
    generated = write_folder(tmp_path / "generated", {"c0": stereo}, 2 * RATE)
    write_folder(generated, {"c1": audio["c1"][: 2 * RATE], "c2": np.zeros(3 * RATE)})
    (generated / "._c0.wav").write_bytes(b"a file manager's")
    reference = write_folder(tmp_path / "reference", audio | {"c3": audio["c0"]})
    found, printed = score(generated, reference)
    systems = found["systems"]
    assert found["clips"] == 3 and found["songs"] is None
    assert systems["ground truth"]["P1"]["hit_micro"] == 100 and systems["generated"]["kind"] == "model"
    assert set(systems) == {
        "generated",
        "ground truth",
        "shuffled ground truth",
        "fixed click",
        "silence",
        "white noise",
    }
    for line in (
        "1 generated files resampled from 44100 to 22050 Hz",
        "1 generated files have several channels: scored as the mean of them: c0",
        "1 generated files are digital silence: c2",
        "1 of 4 references have no generated file and are not scored: c3",
        "c1: the generated audio has 2.00 s, its reference 3.00 s: the missing 1.00 s count as silence",
        "controls that are not here: VQ reconstruction, which a corpus's levels give; random training song, which --train gives",
        "0 of 3 clips have no reference onsets",
        "Controls: in P1, the",
    ):
        assert line in printed, printed
    hit = systems["generated"]["P1"]
    assert hit["hit_micro"] == pytest.approx(100 * 5 / 9), (
        "3 + 2 of 3 x 3 seconds: a third of c1 is missing, c2 is silent"
    )
    assert "55.6 [0.0, 100.0]" in printed and hit["hit_micro_low"] == 0
    again, _ = score(generated, reference)
    assert again == found
    only, printed = score(generated, reference, "--protocol", "P1")
    assert set(only["systems"]["generated"]) == {"kind", "P1"} and "P2" not in printed


def test_short_audio_can_not_win(tmp_path, audio, score):
    """One sample of the true music, or its first second: what is missing counts, in every protocol. A little is forgiven."""
    reference = write_folder(tmp_path / "reference", audio)
    generated = write_folder(
        tmp_path / "generated", {"c0": audio["c0"][:1], "c1": audio["c1"][:RATE], "c2": np.tile(audio["c2"], 2)}
    )
    found, printed = score(generated, reference)
    own = found["systems"]["generated"]
    assert own["P1"]["hit_micro"] == own["P1"]["coverage_micro"] == pytest.approx(100 * (0 + 1 + 3) / 9)
    assert (
        own["P2"]["BHS"] == pytest.approx(100 * (0 + 1 / 3 + 1) / 3)
        and own["P3"]["BHS"] < 60
        and own["P4"]["onsets_70ms"]["own"] < 0.7
    )
    for line in (
        "c0: the generated audio has 0.00 s, its reference 3.00 s: the missing 3.00 s count as silence",
        "c1: the generated audio has 1.00 s, its reference 3.00 s: the missing 2.00 s count as silence",
        "c2: the generated audio has 6.00 s, its reference 3.00 s: what is over is cut",
    ):
        assert line in printed
    write_folder(generated, {name: wave[: int(2.8 * RATE)] for name, wave in audio.items()})
    found, printed = score(generated, reference)
    assert (
        found["systems"]["generated"]["P1"]["hit_micro"] == 100
        and "3 of 3 pairs differ in length by a tenth or less" in printed
    )


def test_pairs_name_files_and_songs(tmp_path, audio, score):
    generated = write_folder(tmp_path / "generated", {"x": audio["c0"], "y": audio["c1"], "z": audio["c2"]})
    reference = write_folder(tmp_path / "reference", audio)
    table = tmp_path / "pairs.csv"
    table.write_text("generated,reference,song\nx.wav,c0.wav,s\ny.wav,c1.wav,s\nz.wav,c2.wav,t\n")
    found, _ = score(generated, reference, "--pairs", str(table))
    assert found["songs"] == 2 and found["systems"]["generated"]["P1"]["hit_micro"] == 100
    assert "difference_song_low" in found["systems"]["generated"]["P4"]["onsets_70ms"]
    table.write_text("generated,reference\nx.wav,c0.wav\nz.wav,c2.wav\n")
    assert score(generated, reference, "--pairs", str(table))[0]["clips"] == 2


def test_training_music_gives_genre_fad_and_novelty(tmp_path, audio, score):
    """Each dance's own music is in the folder of its genre: the ground truth is found again."""
    rng = np.random.default_rng(0)
    music = {
        n: (rng.standard_normal(3 * RATE) * np.sin(np.arange(3 * RATE) * f)).astype(np.float32) * 0.1
        for n, f in (("a", 0.02), ("b", 0.3))
    }
    reference = write_folder(tmp_path / "reference", music)
    generated = write_folder(tmp_path / "generated", {"a": music["b"], "b": music["b"]})
    write_folder(write_folder(tmp_path / "train", {}) / "jazz", {"x": music["a"]})
    write_folder(tmp_path / "train" / "house", {"y": music["b"]})
    table = tmp_path / "pairs.csv"
    table.write_text("generated,reference,genre\na.wav,a.wav,jazz\nb.wav,b.wav,house\n")
    more = ["--pairs", str(table), "--train", str(tmp_path / "train"), "--embedding", "demo"]
    found, printed = score(generated, reference, *more)
    own, made = found["systems"]["ground truth"], found["systems"]["generated"]
    assert own["genre"]["accuracy"] == 100 and made["genre"]["accuracy"] == 50 and found["genre"]["chance"] == 50
    assert (
        found["systems"]["random training song"]["genre"]["accuracy"] in (0, 50, 100)
        and "random training song, which" not in printed
    )
    assert (
        "too few" in made["fad"]["declined"]
        and "music in train" in printed
        and "genre %" in printed
        and "demo weights" in printed
    )
    without, printed = score(generated, reference, *more[2:])
    assert "genre" not in without["systems"]["generated"] and "No genre accuracy: not every dance" in printed
    table.write_text(table.read_text().replace("jazz", "tango"))
    refused(generated, reference, "no folder .*tango, but a dance has this genre; there are: house, jazz", *more)
    refused(generated, reference, "--embedding is of the scores that --train adds", "--embedding", "demo")
    (tmp_path / "none").mkdir()
    refused(generated, reference, "one folder per genre", "--train", str(tmp_path / "none"), "--embedding", "demo")
    with pytest.raises(UserError, match="no file can be made in /proc"):
        evaluate_command.main(["--generated", str(reference), "--reference", str(reference), "--json", "/proc/x.json"])
    with pytest.raises(UserError, match="need --generated"):
        evaluate_command.main(["--train", str(tmp_path)])


def refused(generated, reference, message, *more):
    with pytest.raises(UserError, match=message) as caught:
        evaluate_command.main(["--generated", str(generated), "--reference", str(reference), *more])
    assert "\n" not in str(caught.value)


def test_an_mp3_with_a_large_picture_in_its_tag_is_read(tmp_path, audio):
    soundfile.write(tmp_path / "x.mp3", audio["c0"][:RATE], RATE)
    frames, picture = (tmp_path / "x.mp3").read_bytes(), bytes(300_000)
    size = bytes(len(picture) >> shift & 127 for shift in (21, 14, 7, 0))
    (tmp_path / "x.mp3").write_bytes(b"ID3\x04\0\0" + size + picture + frames)
    assert len(read_samples(tmp_path / "x.mp3").audio) == RATE


def test_bad_folders_are_one_clear_line(tmp_path, audio):
    reference = write_folder(tmp_path / "reference", audio)
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", reference, "no audio files")
    refused(tmp_path / "none", reference, "no such folder")
    refused(write_folder(tmp_path / "stranger", {"zz": audio["c0"]}), reference, "no reference named zz")
    bad = write_folder(tmp_path / "bad", {})
    soundfile.write(bad / "c0.wav", np.array([0.0, np.nan], np.float32), RATE, subtype="FLOAT")
    refused(bad, reference, "NaN")
    (bad / "c0.wav").write_bytes(b"RIFF nonsense")
    refused(bad, reference, "not a readable audio file")
    (bad / "c0.wav").rename(bad / "c0.mp3")
    refused(bad, reference, "no audio in a known format")
    soundfile.write(bad / "c0.mp3", audio["c0"][: RATE // 10], RATE)
    frames = (bad / "c0.mp3").read_bytes()
    (bad / "c0.mp3").write_bytes(frames + np.random.default_rng(0).bytes(50_000))
    refused(bad, reference, "s of MP3 in .* bytes, most of which")
    (bad / "c0.mp3").unlink()
    soundfile.write(bad / "c0.wav", np.zeros(0, np.float32), RATE)
    refused(bad, reference, "0 samples")
    soundfile.write(bad / "c0.flac", audio["c0"], RATE)
    refused(bad, reference, "both c0.flac and c0.wav")
    with pytest.raises(UserError, match="both folders"):
        evaluate_command.main(["--generated", str(reference)])
    with pytest.raises(UserError, match="no file can be made in /proc"):
        evaluate_command.main(["--generated", str(reference), "--reference", str(reference), "--json", "/proc/x.json"])
    with pytest.raises(UserError, match="need --generated"):
        evaluate_command.main(["--json", "x.json"])


@pytest.mark.parametrize("rows, message", [
    ("../secret.wav,c0.wav", "leads out of"),
    ("/etc/passwd,c0.wav", "leads out of"),
    ("link.wav,c0.wav", "leads out of"),
    ("c0.wav,c9.wav", "'c9.wav' is no file"),
    ("c0.wav,c0.wav\nc0.wav,c1.wav", "occurs twice"),
    ("", "no pairs"),
    ("c0.wav,c0.wav,s\nc1.wav,c1.wav,", "in all rows or in none"),
    ("a\0b.wav,c0.wav", "no file|NUL"),
    ("circle.wav,c0.wav", "'circle.wav' is no file"),
    ("pipe.wav,c0.wav", "'pipe.wav' is no file"),
    ("x" * 300 + ".wav,c0.wav", "is no file"),
])  # fmt: skip
def test_bad_pairs_are_one_clear_line(tmp_path, audio, rows, message):
    folder = write_folder(tmp_path / "audio", audio)
    write_folder(tmp_path, {"secret": audio["c0"]})
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    (folder / "circle.wav").symlink_to("circle.wav")
    os.mkfifo(folder / "pipe.wav")
    table = tmp_path / "pairs.csv"
    table.write_text("generated,reference,song\n" + rows + "\n")
    refused(folder, folder, message, "--pairs", str(table))


def test_pairs_of_any_region_and_composition(tmp_path, audio):
    folder = write_folder(tmp_path / "audio", {"cafe\u0301": audio["c0"], "b": audio["c1"]})
    other = write_folder(tmp_path / "others", {"caf\u00e9": audio["c0"], "b": audio["c1"]})
    (tmp_path / "pairs.csv").write_text("generated;reference;song\ncaf\u00e9.wav;cafe\u0301.wav;s1\nb.wav;b.wav;s2\n")
    found = read_systems({"x": folder}, other, tmp_path / "pairs.csv").systems["x"]
    assert list(found) == ["caf\u00e9.wav", "b.wav"]
    assert sorted(read_systems({"x": folder}, other).systems["x"]) == ["b", "caf\u00e9"]


@pytest.mark.parametrize(
    "times", [[-1.0, 2.0], [0.5, 1e300], [[0.5], [1.0]], ["a"], [b"a"], [np.nan], [1.0, 0.5], [True]], ids=str
)
def test_true_beats_are_seconds_of_a_clip(tmp_path, times):
    np.savez(tmp_path / "a.npz", beats=np.array(times))
    with pytest.raises(UserError, match="a.npz: "):
        true_beats(tmp_path, ["a"])
    np.savez(tmp_path / "a.npz", beats=np.array([0.0, 0.5]))
    assert true_beats(tmp_path, ["a"])["a"].tolist() == [0.0, 0.5]


@pytest.mark.parametrize("table", ["circle", "pipe", "folder"])
def test_pairs_that_are_no_file(tmp_path, audio, table):
    folder = write_folder(tmp_path / "folder", audio)
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    refused(folder, folder, "Too many levels|device, not a file|a folder, not a file", "--pairs", str(tmp_path / table))
