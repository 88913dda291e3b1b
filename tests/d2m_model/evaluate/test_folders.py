"""Several folders at once: names and seeds, equal clips, what is kept from run to run, and what is written."""

import csv
import json

import numpy as np
import pytest
import soundfile

from d2m_model.evaluate import __main__ as command
from d2m_model.evaluate import all_systems
from d2m_model.evaluate.folders import named_folders
from d2m_model.evaluate.kept_scores import KeptScores, content
from d2m_model.metrics.embedding import Embedded, Embedder
from dataset_tools.lib.core.errors import UserError
from tests.helpers.builders import beats_of, click_train

RATE = 22050


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """References of four clips, and systems: ours (two seeds) plays near them, base is another clip's."""
    monkeypatch.chdir(tmp_path)
    beats = {f"c{n}": beats_of(n, 3.0) + 0.05 * n for n in range(4)}
    write = lambda folder, played: [
        (tmp_path / folder).mkdir(parents=True, exist_ok=True),
        *(soundfile.write(tmp_path / folder / f"{c}.wav", click_train(b, 3 * RATE), RATE) for c, b in played.items()),
    ]
    write("reference", beats)
    write("ours/seed0", {c: b + 0.01 for c, b in beats.items()})
    write("ours/seed1", {c: b[::2] for c, b in beats.items()})
    write("base", dict(zip(beats, [*list(beats.values())[1:], beats["c0"]], strict=True)))
    return tmp_path


def run(*more):
    return command.main(["--generated", *more, "--reference", "reference"])


def test_names_of_folders(tmp_path):
    (tmp_path / "a=b").mkdir()
    found = named_folders(["x/ours/seed0", "x/ours/seed_1/", "CDCD=y/z", "base", str(tmp_path / "a=b")])
    assert list(found) == ["ours/seed0", "ours/seed_1", "CDCD", "base", "a=b"] and str(found["CDCD"]) == "y/z"
    assert list(named_folders(["x/ours"])) == ["generated"] and list(named_folders(["N=x"])) == ["N"]
    for given, message in (
        (["x/a", "y/a"], "2 folders are called 'a'; give them names: NAME=DIR"),
        (["silence=x", "y"], "'silence' can't be a system's name: a control has it"),
        (["VQ reconstruction high=x"], "a control has it"),
        (["a\nb=x"], "one line"),
    ):
        with pytest.raises(UserError, match=message):
            named_folders(given)


def test_systems_are_compared_clip_by_clip(folders, capsys):
    assert run("ours/seed0", "ours/seed1", "other=base", "--out", "out", "--json", "all.json") == 0
    printed = capsys.readouterr().out
    found = json.loads((folders / "out/metrics.json").read_text())
    assert found == json.loads((folders / "all.json").read_text())
    assert list(found["systems"])[:3] == ["ours/seed0", "ours/seed1", "other"]
    ranks = found["ranks"]["P4 own − other (onsets)"]
    assert ranks["ours"]["seeds"] == 2 and ranks["ours"]["rank"] == 1 and set(ranks) == {"ours", "other"}
    assert found["seeds"]["ours"]["P1 hit %"]["max"] == 100
    own = found["systems"]["ours/seed0"]["P4"]["onsets_70ms"]
    assert (
        own["p"] == pytest.approx(1 / 24, abs=1e-6) and own["permuted"] < own["difference"]
    )  # of 24 permutations the best
    for line in ("Ranks with ties", "ours − other", "Spread over training seeds", "share of random permutations"):
        assert line in printed
    assert "those" not in printed.partition("Controls: ")[2].split(), "which controls is said"
    with open(folders / "out/comparisons.csv", newline="") as file:
        pairs = list(csv.DictReader(file))
    assert {"ours", "other", "silence", "ground truth"} <= {p["a"] for p in pairs} | {p["b"] for p in pairs}
    with open(folders / "out/per_clip.csv", newline="") as file:
        assert sum(row["system"] == "ours/seed1" for row in csv.DictReader(file)) == 4
    assert (folders / "out/systems.csv").read_text().startswith("system,kind,")
    names = {p.name for p in (folders / "out/tables").iterdir()}
    assert {
        f"{n}.{form}" for n in ("systems", "ranks", "differences", "seeds", "p1") for form in ("md", "csv", "tex")
    } <= names


def test_every_system_needs_the_same_clips(folders):
    (folders / "base/c2.wav").unlink()
    with pytest.raises(
        UserError, match=r"base: no audio named c2, which ours/seed0 has \(1 such\); every system needs"
    ):
        run("ours/seed0", "base")


def counted(monkeypatch):
    """The systems that are scored from now on, one entry each."""
    scored, score = [], all_systems.score_system
    monkeypatch.setattr(all_systems, "score_system", lambda audio, **more: scored.append(1) or score(audio, **more))
    return scored


def test_a_system_that_is_added_is_the_only_one_that_is_scored(folders, monkeypatch, capsys):
    scored = counted(monkeypatch)
    assert run("ours/seed0", "base", "--json", "first.json") == 0 and len(scored) == 7  # two, and five controls
    scored.clear()
    assert run("ours/seed0", "base", "ours/seed1", "--json", "second.json") == 0 and len(scored) == 1
    assert "7 of 8 systems and controls have their scores from an earlier run" in capsys.readouterr().out
    first, second = (json.loads((folders / f"{n}.json").read_text())["systems"] for n in ("first", "second"))
    assert first["base"] == second["base"] and first["silence"] == second["silence"]
    scored.clear()
    soundfile.write(folders / "base/c0.wav", click_train(beats_of(3, 3.0), 3 * RATE), RATE)
    assert run("ours/seed0", "base") == 0 and len(scored) == 1, "of new audio"
    scored.clear()
    soundfile.write(folders / "reference/c0.wav", click_train(beats_of(2, 3.0), 3 * RATE), RATE)
    assert run("ours/seed0", "base") == 0 and len(scored) == 7, "against another reference"
    scored.clear()
    (folders / "pairs.csv").write_text(
        "generated,reference,song\n" + "".join(f"c{n}.wav,c{n}.wav,s{n % 2}\n" for n in range(4))
    )
    assert run("ours/seed0", "base", "--pairs", "pairs.csv") == 0 and len(scored) == 7, "with songs"
    scored.clear()
    for file in (folders / "data/.cache/evaluate").glob("*.json"):
        file.write_text("{")
    assert run("ours/seed0", "base", "--pairs", "pairs.csv") == 0 and len(scored) == 7, "damaged files are no scores"


def test_embeddings_are_kept_too(folders, monkeypatch, capsys):
    (folders / "train/a").mkdir(parents=True)
    for n in range(2):
        soundfile.write(folders / f"train/a/{n}.wav", click_train(beats_of(n, 3.0), 3 * RATE), RATE)
    more = ("--train", "train", "--embedding", "demo", "--json", "all.json")
    assert run("ours/seed0", "base", *more) == 0
    first = json.loads((folders / "all.json").read_text())["systems"]
    patches, embed = [], Embedder.__call__
    monkeypatch.setattr(Embedder, "__call__", lambda self, given: patches.append(len(given)) or embed(self, given))
    assert run("ours/seed0", "base", "ours/seed1", *more) == 0
    assert len(patches) == 4, "one system's four clips"
    again = json.loads((folders / "all.json").read_text())["systems"]
    assert {n: again[n] for n in first} == first and "novelty" in again["ours/seed1"]


def test_what_is_kept_comes_back_bit_for_bit(tmp_path):
    kept = KeptScores(tmp_path / "kept")
    value = [{"a": float(np.float64(1) / 3), "b": float("nan"), "c": 5}, [{"x": "é"}]]
    key = kept.key("x", {"a": (1, 2)})
    assert kept.read(key) is None and kept.key("x", {"a": (1, 3)}) != key == KeptScores(tmp_path).key(
        "x", {"a": (1, 2)}
    )
    kept.write(key, value)
    found = kept.read(key)
    assert found[0]["a"] == 1 / 3 and np.isnan(found[0]["b"]) and found[1] == value[1]
    points = {"b": Embedded(patches=np.random.rand(4, 3), segments=np.random.rand(2, 3)), "a\n": None}
    for _ in range(2):
        again = kept.points("p", lambda: points)
        assert list(again) == ["b", "a\n"] and again["a\n"] is None
        assert np.array_equal(again["b"].patches, points["b"].patches) and np.array_equal(
            again["b"].segments, points["b"].segments
        )
    assert kept.points("p", lambda: 1 / 0)["a\n"] is None
    (tmp_path / "file").write_text("")
    KeptScores(tmp_path / "file").write(key, value)  # nothing can be kept there, and nothing is lost
    audio = {"a": np.ones(3, np.float32), "b": np.zeros(2, np.float32)}
    assert content(audio) == content(dict(reversed(audio.items()))) != content(audio | {"b": np.zeros(3, np.float32)})


def test_without_a_network_the_demo_embedding_is_named(folders, monkeypatch):
    def no_network(*_, **__):
        raise UserError("weights vggish: https://x: ConnectionError")

    monkeypatch.setattr("d2m_model.metrics.embedding.locate", no_network)
    (folders / "train").mkdir()
    soundfile.write(folders / "train/x.wav", click_train(beats_of(1, 3.0), 3 * RATE), RATE)
    with pytest.raises(
        UserError, match="ConnectionError. Without a network, and for rendered .* music: --embedding demo"
    ):
        run("base", "--train", "train")
