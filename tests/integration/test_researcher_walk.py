"""A researcher's first hour, as the documentation says it: two systems, one with two seeds, scored, compared, and put in a paper."""

import csv
import re

import numpy as np
import soundfile

from d2m_model.evaluate import __main__ as command
from tests.helpers.builders import click_train

RATE = 22050
SECONDS = 5
TEMPI = (84, 96, 107, 118, 129, 141, 152, 163)


def write(folder, clips):
    folder.mkdir(parents=True)
    for name, beats in clips.items():
        soundfile.write(folder / f"{name}.wav", click_train(np.sort(beats[beats >= 0]), SECONDS * RATE), RATE)


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_from_folders_of_audio_files_to_the_tables_of_a_paper(tmp_path, monkeypatch, capsys):
    def evaluate(*systems):
        more = (
            "--reference",
            "dances",
            "--pairs",
            "pairs.csv",
            "--train",
            "train",
            "--embedding",
            "demo",
            "--out",
            "scores",
        )
        assert command.main(["--generated", *systems, *more]) == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    beats = {f"d{n}": np.arange(0.2 + 0.03 * n, SECONDS - 0.1, 60 / tempo) for n, tempo in enumerate(TEMPI)}
    near = lambda spread: {c: b + rng.normal(0, spread, len(b)) for c, b in beats.items()}
    names = list(beats)
    write(tmp_path / "dances", beats)
    write(tmp_path / "ours/seed0", near(0.005))
    write(tmp_path / "ours/seed1", near(0.02))
    write(tmp_path / "rival", {c: beats[names[i - 3]] for i, c in enumerate(names)})
    for genre, part in (("slow", names[:4]), ("fast", names[4:])):
        write(tmp_path / "train" / genre, {c: beats[c] + 0.1 for c in part})
    rows = [f"{c}.wav,{c}.wav,song{n // 2},{'slow' if n < 4 else 'fast'}" for n, c in enumerate(names)]
    (tmp_path / "pairs.csv").write_text("\n".join(["generated,reference,song,genre", *rows]) + "\n")

    said = evaluate("ours/seed0", "ours/seed1")
    assert "8 clips, 4 songs" in said and "Controls: " in said
    said = evaluate("ours/seed0", "ours/seed1", "Rival & Co.=rival")
    assert "8 of 9 systems and controls have their scores from an earlier run" in said

    pair = next(p for p in read(tmp_path / "scores/comparisons.csv") if (p["a"], p["b"]) == ("ours", "Rival & Co."))
    assert (
        pair["measure"].startswith("P4") and float(pair["low"]) > 0 and float(pair["p"]) < 0.05 and pair["clips"] == "8"
    )
    clips = read(tmp_path / "scores/per_clip.csv")
    assert {r["clip_id"] for r in clips if r["system"] == "Rival & Co."} == {f"{c}.wav" for c in names}
    scores = {r["system"]: r for r in read(tmp_path / "scores/systems.csv")}
    assert float(scores["ours/seed0"]["P4_onsets"]) > 0.3 > float(scores["Rival & Co."]["P4_onsets"])
    table = {r["system"]: r for r in read(tmp_path / "scores/tables/systems.csv")}
    assert float(table["ours/seed0"]["p"].lstrip("<")) < 0.05 < float(table["Rival & Co."]["p"])
    assert table["ours/seed0"]["over songs"].startswith("[+0.") and table["ours/seed0"]["FAD references"] != "–"
    ranks = read(tmp_path / "scores/tables/ranks.csv")
    assert [r["system"] for r in ranks] == ["ours", "Rival & Co."] and ranks[0]["P4 own − other (onsets)"].startswith(
        "1 (+"
    )
    assert read(tmp_path / "scores/tables/seeds.csv")[0]["seeds"] == "2"

    for path in (tmp_path / "scores/tables").glob("*.tex"):
        tex = path.read_text(encoding="utf-8")
        assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") >= 1, path
        for columns in re.findall(r"\\begin\{tabular\}\{(l+)\}", tex):
            assert len(columns) <= 8, path
        for line in re.sub(r"\$[^$\n]*\$", "", tex.replace(r"\$", "")).splitlines()[1:]:
            assert not re.search(r"(?<!\\)[_#]|(?<!\\)%.", line), (path, line)
            assert line.endswith(r"\\") or not re.search(r"(?<!\\)&", line), (path, line)
    tex = (tmp_path / "scores/tables/systems.tex").read_text(encoding="utf-8")
    assert r"Rival \& Co." in tex and r"P1 coverage (target 100)" in tex and "FAD (lower is better)" in tex
