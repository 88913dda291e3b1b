"""Every option with every model: it acts, or one line says that it does not; docs/control.md is the table."""

import re
from pathlib import Path

import pytest

from d2m_model.generate.arguments import check_together, parser_of
from d2m_model.generate.params import Params
from dataset_tools.lib.core.errors import UserError

PAGE = Path(__file__).resolve().parents[3] / "docs" / "control.md"
ROWS = re.findall(r"^\| `(--[a-z]+) .*?` \| (\w+) \| (\w+) \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
MODELS = {"prior": [], "d2m_gan": ["--variant", "full"], "own music": ["--own-music", "songs"]}
VALUES = {
    "--style": "house", "--strictness": "2", "--tempo": "120", "--beats": "b.json", "--snap": "s.wav", "--shift": "-0.1", "--dancer": "1", "--seed": "3", "--takes": "2", "--from": "t.wav",
    "--level": "low", "--variant": "full", "--genre": "house", "--denoise": "0.5", "--loudness": "-20", "--mix": "0.2",
}  # fmt: skip
OTHERS = {
    "--video",
    "--out",
    "--pose",
    "--pose-fps",
    "--own-music",
    "--redo",
    "--keep",
    "--json",
    "--beats-out",
    "--corpus",
    "--root",
    "--shards",
    "--help",
}
"""Options that say what is read and written, not how the music is made."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("in.mp4", "b.json", "t.wav", "s.wav"):
        (tmp_path / name).write_text(name)
    (tmp_path / "songs").mkdir()
    monkeypatch.chdir(tmp_path)


def test_the_page_has_every_option():
    known = {option for action in parser_of("")._actions for option in action.option_strings if option.startswith("--")}
    assert {name for name, *_ in ROWS} == set(VALUES) == known - OTHERS


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_an_option_acts_or_is_refused(folder, row, model):
    option, acts = row[0], dict(zip(MODELS, row[1:], strict=True))[model]
    words = ["--video", "in.mp4", "--out", "out.mp4", *MODELS[model], option, VALUES[option]]
    words += ["--redo", "1-2"] if option == "--from" else []
    if option == "--variant" and model == "prior":
        words[-1] = "prior"
    args = parser_of("").parse_args(words)
    if acts == "no":
        with pytest.raises(UserError, match=option) as refused:
            check_together(args, Params())
        assert "\n" not in str(refused.value)
    else:
        check_together(args, Params())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mix", "0", "--video", "in.mp4", "--out", "o.wav"], "--mix must be above 0"),
        (["--mix", "2", "--video", "in.mp4", "--out", "o.wav"], "--mix must be above 0 and at most 1"),
        (["--mix", "nan", "--video", "in.mp4", "--out", "o.wav"], "--mix must be above 0"),
        (["--mix", "0.2", "--beats", "b.json", "--out", "o.wav"], "--mix .* needs --video"),
        (["--mix", "0.2"], "--mix .* needs --video"),
        (["--mix", "0.2", "--video", "in.mp4", "--from", "t.wav", "--redo", "1-2", "--out", "o.wav"], "--mix does not go with --from"),
        (["--dancer", "-1", "--video", "in.mp4", "--out", "o.wav"], "--dancer must be 0, the one in front, or more, found -1"),
        (["--dancer", "0", "--video", "in.mp4", "--beats", "b.json", "--out", "o.wav"], "--dancer changes nothing with --beats"),
        (["--dancer", "0"], "--dancer is for a dance of your own"),
        (["--dancer", "0", "--video", "songs", "--out", "o"], "songs: --dancer is for one dance; --video must be one video"),
        (["--tempo", "fast", "--video", "in.mp4", "--out", "o.wav"], "--tempo must be .* 'half' or 'double', found fast"),
        (["--tempo", "half"], "--tempo is for a dance of your own"),
        (["--shift", "0", "--video", "in.mp4", "--out", "o.wav"], "--shift must be -60 to 60 seconds and not 0, found 0"),
        (["--shift", "nan", "--video", "in.mp4", "--out", "o.wav"], "--shift must be .* found nan"),
        (["--shift", "99", "--video", "in.mp4", "--out", "o.wav"], "--shift must be .* found 99"),
        (["--shift", "1", "--video", "songs", "--out", "o"], "--shift is for one dance"),
        (["--snap", "motion", "--beats", "b.json", "--out", "o.wav"], "--snap motion needs the dancer: give --video or --pose"),
        (["--snap", "songs", "--video", "in.mp4", "--out", "o.wav"], "songs: --snap takes an audio file or a video, .* found a folder"),
        (["--snap", "none.wav", "--video", "in.mp4", "--out", "o.wav"], "none.wav: file not found"),
        (["--snap", "s.wav", "--video", "in.mp4", "--out", "s.wav"], "s.wav: this output is the same file as the input"),
        (["--beats-out", "o.txt", "--video", "in.mp4", "--out", "o.wav"], r"o.txt: --beats-out must end in .json, .mid, .wav"),
        (["--beats-out", "o.mid"], "--beats-out is for a dance of your own"),
        (["--beats-out", "o.mid", "--video", "in.mp4", "--variant", "full", "--out", "o.wav"], "--beats-out is for the prior"),
        (["--beats-out", "o.wav", "--video", "in.mp4", "--out", "o.wav"], "o.wav: two outputs have this name"),
        (["--beats-out", "o.json", "--json", "--video", "in.mp4", "--out", "o.wav"], "o.json: two outputs have this name"),
        (["--beats-out", "b.json", "--beats", "b.json", "--out", "o.wav"], "b.json: this output is the same file as the input"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_one_line(folder, words, message):
    with pytest.raises(UserError, match=message) as refused:
        check_together(parser_of("").parse_args(words), Params())
    assert "\n" not in str(refused.value)


def test_the_dancer_is_chosen_where_the_beats_follow_the_motion(folder):
    Path("motion").mkdir()  # no matter what has this name
    words = ["--video", "in.mp4", "--beats", "b.json", "--snap", "motion", "--dancer", "1", "--out", "o.wav"]
    check_together(parser_of("").parse_args(words), Params())
