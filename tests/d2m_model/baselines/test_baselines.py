"""The stage `baselines`: every system leaves one audio file for each test clip, and mistakes are one line."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from d2m_model.baselines import __main__ as baselines
from d2m_model.baselines.dance import Corpus
from d2m_model.baselines.params import SYSTEMS
from d2m_model.baselines.score import Note, read_midi, write_midi
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.shard_io.shard_format import NO_POSE
from tests.helpers.builders import build_manifest, build_shards


@pytest.fixture
def corpus(tmp_path):
    """Two training and two test clips of 3 s."""
    build_manifest(tmp_path, "demo")
    build_shards(tmp_path / "data/demo/shards", clips=2, seconds=3)
    build_shards(tmp_path / "data/demo/shards", clips=2, seconds=3, split="test", first=2)
    (tmp_path / "params.yaml").write_text("baselines: {threads: 1}\n")
    return tmp_path


def test_audio_and_a_score_for_every_clip(corpus, capsys):
    folder = corpus / "runs/demo/baselines/dance2music"
    folder.mkdir(parents=True)
    for stale in ("gone.wav", "gone.mid"):
        (folder / stale).write_bytes(b"")
    run = ["--root", str(corpus), "--corpus", "demo", "--system", "dance2music"]
    assert baselines.main(run) == 0
    said = capsys.readouterr().out
    assert "the joints of coco17 instead of BODY_25's" in (folder / "about.txt").read_text()
    rows = pd.read_csv(folder / "rows.csv")
    assert list(rows.id) == ["clip_002", "clip_003"] and (rows.status == "ok").all() and (rows.seconds == 3).all()
    assert f"dance2music: 2 clips, 6.0 s of music, {rows.notes.sum()} notes" in said
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(first) == {"about.txt", "rows.csv", "clip_002.wav", "clip_002.mid", "clip_003.wav", "clip_003.mid"}
    for row in rows.itertuples():
        audio, rate = soundfile.read(folder / f"{row.id}.wav", dtype="int16")
        assert (audio.shape, rate) == ((3 * 22050,), 22050) and np.abs(audio / 32767).max() == pytest.approx(
            row.peak, abs=1e-3
        )
        assert len(read_midi(folder / f"{row.id}.mid")) == row.notes > 0
    (corpus / "params.yaml").write_text("baselines: {threads: 1, workers: 2}\n")
    assert baselines.main(run) == 0  # whichever process made them
    assert first == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_online_network_is_trained_and_plays(corpus):
    (corpus / "params.yaml").write_text(
        "baselines: {threads: 1, dance2music: {method: online, beam: 5, steps: 2, batch: 2}}\n"
    )
    run = ["--root", str(corpus), "--corpus", "demo", "--system", "dance2music", "--resume"]
    assert baselines.main(run) == 0
    folder = corpus / "runs/demo/baselines/dance2music"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["dances"], metrics["notes"], metrics["parameters"]) == (2, 30, 2097413) and metrics["steps"] == 2
    assert {"model.pt", "curves.csv", "clip_002.mid"} <= {path.name for path in folder.iterdir()}
    assert "distilled from the offline search" in (folder / "about.txt").read_text()
    (corpus / "params.yaml").write_text("baselines: {threads: 1}\n")
    assert baselines.main(run) == 0 and not (folder / "model.pt").exists()


def test_a_corpus_gives_training_songs_alone(corpus):
    own = Corpus(layout=Layout(root=corpus, corpus="demo"), system="x", seed=1)
    assert own.scores() == {} and own.song_start("clip_000") is None
    songs = [clip.song for clip in own.train.clips]
    for song in (*songs, "of_a_test_clip"):
        write_midi(corpus / f"data/demo/sources/scores/{song}.mid", [Note(0, 1, 60, 1)])
    (corpus / "data/demo/sources/truth").mkdir()
    np.savez(corpus / "data/demo/sources/truth/clip_000.npz", song_start=np.float64(12.5))
    assert sorted(own.scores()) == sorted(set(songs)) and own.song_start("clip_000") == 12.5
    dances = list(own.training_dances())
    assert [d.clip_id for d in dances] == ["clip_000", "clip_001"] and dances[0].seed != dances[1].seed
    assert dances[0].pose.shape[0] == dances[0].frames == 90 and dances[0].video.name == "clip_000.mp4"


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_what_the_stage_calls(name):
    module = importlib.import_module(SYSTEMS[name])
    assert (
        callable(module.train)
        and callable(module.compose)
        and callable(module.about)
        and module.Params() == module.Params()
    )


@pytest.mark.parametrize(
    "section, rule",
    [
        ("{beams: 3}", "baselines.beams is not a parameter; known: cmt, dance2music, "),
        ("{dance2music: {beams: 3}}", "baselines.dance2music.beams is not a parameter; known: batch, beam"),
        ("{dance2music: {beam: 0}}", "baselines.dance2music: beam must be at least 1, found 0"),
        ("{dance2music: {method: both}}", "baselines.dance2music: method must be offline or online, found 'both'"),
        ("{dance2music: 3}", "baselines.dance2music must be a mapping"),
        ("{split: all}", "split must be one of train, val, test, found 'all'"),
        ("{loudness: 3}", "loudness must be -70 to 0 LUFS, found 3"),
        ("{peak: 0}", "peak must be above 0 and at most 1, found 0"),
        ("{threads: 0}", "threads must be at least 1"),
        ("{workers: 0}", "workers must be at least 1"),
        ("{seed: -1}", "seed must be at least 0"),
    ],
)
def test_params_out_of_range(corpus, section, rule):
    (corpus / "params.yaml").write_text(f"baselines: {section}\n")
    with pytest.raises(UserError, match=rule):
        baselines.main(["--root", str(corpus), "--corpus", "demo", "--system", "dance2music"])


@pytest.mark.parametrize("name", ["dance2music", "foley_music"])
def test_shards_without_a_pose_are_refused_by_who_reads_it(corpus, name):
    for split, first in (("train", 0), ("test", 2)):
        build_shards(
            corpus / "data/demo/shards",
            clips=2,
            seconds=3,
            split=split,
            first=first,
            motion_rate=60,
            pose_weights=NO_POSE,
        )
    with pytest.raises(
        UserError,
        match=f"shards: these shards hold SMPL motion only, but {name} reads the pose; take it out of `systems`",
    ):
        baselines.main(["--root", str(corpus), "--corpus", "demo", "--system", name])
    assert not (corpus / "runs/demo/baselines" / name).exists()


def test_what_is_missing_is_named(corpus, capsys):
    with pytest.raises(SystemExit):
        baselines.main(["--root", str(corpus), "--system", "nobody"])
    assert "invalid choice: 'nobody' (choose from 'dance2music'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        baselines.main(["--root", str(corpus)])
    for shard in (corpus / "data/demo/shards").glob("test-*"):
        shard.unlink()
    with pytest.raises(UserError, match="no shard of the 'test' split; run python -m dataset_tools.shards"):
        baselines.main(["--root", str(corpus), "--corpus", "demo", "--system", "dance2music"])
