"""The file of beats, and its click track."""

import librosa
import numpy as np
import pytest

from d2m_model.metrics.p4_onsets import beat_f_measure
from d2m_model.rhythm.beats_file import Beats, as_written, clicks, read_beats, write_beats
from dataset_tools.lib.core.errors import UserError


def test_beats_travel_as_json_and_come_back(tmp_path):
    beats = Beats(
        fps=30, seconds=8.5, beats=np.arange(0.25, 8, 0.5), downbeats=np.arange(0.25, 8, 2), strength=np.linspace(0, 1, 16),
        tempo=120.0, style={"house": 0.7, "pop": 0.3},
    )  # fmt: skip
    write_beats(tmp_path / "a.json", beats)
    back = read_beats(tmp_path / "a.json")
    for name in ("beats", "downbeats", "strength"):
        assert np.allclose(getattr(back, name), getattr(beats, name), atol=1e-3)
    assert (back.fps, back.seconds, back.tempo, back.style) == (30, 8.5, 120, {"house": 0.7, "pop": 0.3})
    write_beats(tmp_path / "b.json", back)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_list_of_beats_alone_is_enough(tmp_path):
    (tmp_path / "a.json").write_text('{"beats": [0.5, 1, 1.5], "downbeats": null}')
    found = read_beats(tmp_path / "a.json")
    assert found.beats.tolist() == [0.5, 1, 1.5] and found.tempo == pytest.approx(120) and found.seconds == 2.0
    (tmp_path / "b.json").write_text('{"beats": []}')
    assert len(read_beats(tmp_path / "b.json").beats) == 0


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("beats", "not JSON"),
        ("[0.5]", "'beats' is missing"),
        ("{}", "'beats' is missing"),
        ('{"beats": 3}', "beats must be a list"),
        ('{"beats": [0.5, "one"]}', "finite numbers, found one"),
        ('{"beats": [0.5, NaN]}', "finite numbers"),
        ('{"beats": [0.5, null]}', "finite numbers"),
        ('{"beats": [true]}', "finite numbers"),
        ('{"beats": [[0.5]]}', "finite numbers"),
        ('{"beats": [1.0, 0.5]}', "beats must be ascending seconds, found [1.  0.5]"),
        ('{"beats": [-0.5, 1]}', "beats must be at least 0 s"),
        ('{"beats": [0.5, 9], "seconds": 4}', "within the 4 s"),
        ('{"beats": [0.5], "strength": [0.5, 1]}', "strength must have a number for each of the 1 beats"),
        ('{"beats": [0.5], "strength": [2]}', "within 0..1"),
        ('{"beats": [0.5], "tempo": -3}', "tempo must be"),
        ('{"beats": [0.5], "fps": "thirty"}', "fps must be 1 to 1000"),
        ('{"beats": [0.5], "fps": 0}', "fps must be 1 to 1000, found 0"),
        ('{"beats": [0.5], "seconds": 0}', "seconds must be above 0"),
        (
            '{"beats": [0.5], "downbeat": [0.5]}',
            "unknown key 'downbeat'; known: fps, seconds, beats, downbeats, strength, tempo, style; correct it",
        ),
        ('{"beats": [0.5], "down_beats": [0.5]}', "unknown key 'down_beats'; known: "),
        ('{"beats": [0.5], "": 1}', "unknown key ''; known: "),
        ('{"beats": [0.5], "a\\u001b' + "b" * 999 + '": 1}', "unknown key 'a"),
        ('{"beats": [0.5], "style": {"house": 2}}', "found house: 2"),
        ('{"beats": [0.5], "seconds": 1e9}', "seconds must be above 0"),
        ('{"beats": [0.5, 1' + "0" * 400 + "]}", "finite numbers, found 1000"),
        ('{"beats": [0.5], "seconds": 1' + "0" * 400 + "}", "seconds must be above 0"),
        ('{"beats": [0.5], "fps": 1' + "0" * 400 + "}", "fps must be 1 to 1000"),
        ('{"beats": [' + "0," * 100_000 + "1]}", "at most 100000"),
    ],
)
def test_a_bad_file_of_beats_is_one_line(tmp_path, content, rule):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_beats(path)
    assert (
        len(str(caught.value)) < 400
        and str(path) in str(caught.value)
        and rule in str(caught.value)
        and "\n" not in str(caught.value)
    )


def test_the_beats_that_generate_writes_beside_the_audio_are_read(tmp_path):
    from d2m_model.generate import detected_beats as of_audio

    clicks = np.zeros(6 * 22_050, np.float32)
    clicks[11_025::11_025] = 1
    for facts in ({"level": "high", "seed": 0}, {"song": "mine.mp3"}):  # of a model, of a song of one's own
        of_audio.write_beats(tmp_path / "a.json", clicks, sound="a.wav", seconds=6.0, **facts)
        found = read_beats(tmp_path / "a.json")
    assert found.seconds == 6 and len(found.beats) > 6 and np.abs(np.diff(found.beats) - 0.5).max() < 0.05


def test_beats_as_written_are_the_file_s(tmp_path):
    beats = Beats(
        fps=30.0,
        seconds=6.16666666,
        beats=np.arange(1, 9) / 1.7,
        downbeats=np.array([1 / 1.7]),
        strength=np.arange(8) / 7,
        tempo=101.98765,
        style={"house": 1 / 3},
    )
    write_beats(tmp_path / "a.json", beats)
    found, known = read_beats(tmp_path / "a.json"), as_written(beats)
    assert found.beats[0] == known.beats[0] == 0.5882 and found.seconds == known.seconds == 6.1667
    for name in ("beats", "downbeats", "strength"):
        assert np.array_equal(getattr(found, name), getattr(known, name))
    assert (found.tempo, found.style) == (known.tempo, known.style) == (101.99, {"house": 0.3333})


def test_no_file_of_beats_is_one_line(tmp_path):
    with pytest.raises(UserError, match="file not found"):
        read_beats(tmp_path / "none.json")


def test_clicks_fall_on_the_beats_and_accent_the_downbeats():
    beats = Beats(fps=30, seconds=4, beats=np.arange(0.5, 4, 0.5), downbeats=np.array([0.5, 2.5]))
    audio = clicks(beats, 4)
    assert audio.shape == (4 * 22050,) and audio.dtype == np.float32 and np.abs(audio).max() <= 1
    heard = librosa.onset.onset_detect(y=audio, sr=22050, units="time")
    assert beat_f_measure(beats.beats, heard) == 1.0
    loud = [np.abs(audio[round(t * 22050) :][:2205]).max() for t in beats.beats]
    assert min(loud[0], loud[4]) > 1.5 * max(loud[1:4] + loud[5:])


def test_beats_in_milliseconds_are_told(tmp_path):
    (tmp_path / "b.json").write_text('{"beats": [500, 1000, 1500]}')
    with pytest.raises(
        UserError, match=r"b\.json: beats must be in seconds, found a gap of 500; are they milliseconds\?"
    ):
        read_beats(tmp_path / "b.json")


def test_beats_far_apart_are_read_again_as_they_were_written(tmp_path):
    write_beats(tmp_path / "b.json", Beats(fps=30, seconds=60, beats=np.array([1.0, 13.0, 50.0])))
    assert read_beats(tmp_path / "b.json").beats.tolist() == [1.0, 13.0, 50.0]
