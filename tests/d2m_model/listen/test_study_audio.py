"""The listening study's audio: any system of a table, at one loudness, in files that tell nothing."""

import shutil

import av
import numpy as np
import pyloudnorm
import pytest
import soundfile

from d2m_model.generate.finish import write_wav
from d2m_model.listen import stage as listen
from d2m_model.listen import study_audio
from d2m_model.listen.design import KINDS, headphone_stimuli
from d2m_model.listen.media import fill_up
from d2m_model.listen.params import Params
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.d2m_model.listen.conftest import PARAMS
from tests.helpers.builders import build_shards


def test_loudness_is_one_and_nothing_clips():
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    found = {"soft": 0.01 * np.sin(2000 * t), "loud": 0.9 * np.sin(2000 * t), "silent": np.zeros(len(t))}
    gains, level = study_audio.loudness_gains(found, -23.0)
    meter = pyloudnorm.Meter(SAMPLE_RATE)
    assert level == -23 and gains["silent"] == 1
    for name in ("soft", "loud"):
        assert meter.integrated_loudness(gains[name] * found[name]) == pytest.approx(-23, abs=0.01)
    peaky = np.zeros(len(t))
    peaky[::11025] = 0.5
    gains, level = study_audio.loudness_gains(found | {"peaky": peaky}, -23.0)
    assert level < -23.5 and np.abs(gains["peaky"] * peaky).max() == pytest.approx(study_audio.HEADROOM)
    assert meter.integrated_loudness(gains["loud"] * found["loud"]) == pytest.approx(level, abs=0.01)


def test_any_system_of_table_1_can_be_rated(root):
    layout = Layout(root=root, corpus="tiny")
    coded, named = ["VQ reconstruction high", "VQ reconstruction low"], ["high-full", "low-full", "cmt", "CDCD"]
    assert study_audio.systems_of(layout) == {
        "coherence": ["ground truth", *named, *coded, "shuffled ground truth"],
        "quality": ["ground truth", *named, *coded],
    }
    chosen = study_audio.systems_of(layout, ["cmt", "white noise", "shuffled ground truth", coded[0]])
    assert chosen == {
        "coherence": ["ground truth", "cmt", "white noise", *coded, "shuffled ground truth"],
        "quality": ["ground truth", "cmt", "white noise", *coded],
    }
    with pytest.raises(
        UserError, match="no system 'high-no_fm'; there are: high-full, low-full, cmt, CDCD, ground truth"
    ):
        study_audio.systems_of(layout, ["high-no_fm"])
    with pytest.raises(
        UserError,
        match="no system 'VQ reconstruction top'; there are: .*, VQ reconstruction high, VQ reconstruction low$",
    ):
        study_audio.systems_of(layout, ["cmt", "VQ reconstruction top"])


def test_the_audio_of_any_system_of_any_split(root, tmp_path):
    layout = Layout(root=tmp_path, corpus="tiny")
    for folder in ("data", "runs", "external"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("listen"))
    layout.params.write_text((root / "params.yaml").read_text())
    test, val = (
        ShardSet(layout.stage("shards"), "test"),
        build_shards(layout.stage("shards"), clips=2, seconds=3, split="val", first=7),
    )
    for system in ("cmt", "CDCD"):
        made = study_audio.system_audio(layout, test, system, ["clip_001"], 0)["clip_001"]
        np.testing.assert_array_equal(
            made, study_audio.read_audio(study_audio.named_systems(layout)[system].folder / "clip_001.wav")
        )
    write_wav(layout.root / "external/cdcd/clip_001.wav", np.ones(SAMPLE_RATE, np.float32))
    short = study_audio.system_audio(layout, test, "CDCD", ["clip_001"], 0)["clip_001"]
    assert len(short) == 3 * SAMPLE_RATE and short[:SAMPLE_RATE].all() and not short[SAMPLE_RATE:].any()
    assert not study_audio.system_audio(layout, test, "silence", ["clip_001"], 0)["clip_001"].any()
    own, other = (
        study_audio.system_audio(layout, val, name, ["clip_007"], 0)["clip_007"]
        for name in (study_audio.TRUTH, study_audio.MISMATCHED)
    )
    np.testing.assert_array_equal(other, val.read("clip_008", 0, 90).audio)
    assert not np.array_equal(own, other)
    before = study_audio.study_key(layout, "test", ["CDCD", "ground truth"], ["clip_000"])
    assert before != study_audio.study_key(layout, "test", ["CDCD", "ground truth"], ["clip_001"])
    with pytest.raises(
        UserError,
        match="cdcd/clip_007.wav: file not found; cdcd must hold <clip_id>.wav for each clip of the val split",
    ):
        study_audio.study_key(layout, "val", ["CDCD"], ["clip_007"])
    with pytest.raises(
        UserError,
        match="run `dvc repro` or `python -m d2m_model.baselines --corpus tiny --system cmt`, with baselines.split: val",
    ):
        study_audio.study_key(layout, "val", ["cmt"], ["clip_007"])


def test_headphone_tones_cancel_only_in_the_air():
    wave = study_audio.headphone_audio((1, 2, 0))
    second = lambda k: wave[round((0.25 + 1.5 * k) * SAMPLE_RATE) :][:SAMPLE_RATE]
    power = lambda x: float((x.astype(float) ** 2).mean())
    anti, quiet, plain = (second(k) for k in range(3))
    assert power(anti.sum(axis=1)) < 1e-9 < power(quiet.sum(axis=1))
    assert power(anti[:, 0]) == pytest.approx(power(plain[:, 0])) and power(plain[:, 0]) == pytest.approx(
        4 * power(quiet[:, 0])
    )
    assert {s.clip: s.answer for s in headphone_stimuli()}["120"] == 2


@pytest.mark.parametrize("count", [1, 5])
def test_beeps_can_be_counted(count):
    wave = study_audio.counted_beeps(np.zeros(3 * SAMPLE_RATE, np.float32), count)
    loud = np.convolve(np.abs(wave), np.ones(200) / 200, "same") > 0.05
    assert int((np.diff(loud.astype(int)) == 1).sum()) == count and len(wave) == 3 * SAMPLE_RATE


def test_files_of_a_clip_tell_nothing(root, study):
    _, files = study
    folder = root / "runs/tiny/listen/media"
    assert sorted(p.name for p in folder.iterdir()) == sorted(files.values())
    assert {s.kind for s in files} == set(KINDS) and len({s.clip for s in files if s.kind == "item"}) == 2
    meter = pyloudnorm.Meter(SAMPLE_RATE)
    levels = []
    for clip in {s.clip for s in files if s.kind == "item"}:
        for task in ("coherence", "quality"):
            mine = [folder / name for s, name in files.items() if s.clip == clip and s.task == task]
            assert len({p.stat().st_size for p in mine}) == 1 and len(mine) > 5
        for s, name in files.items():
            if s.clip == clip and s.task == "coherence":
                with av.open(str(folder / name)) as media:
                    assert set(media.metadata) <= {"major_brand", "minor_version", "compatible_brands"}
                    assert media.streams.audio[0].codec_context.name == "aac" and media.duration == pytest.approx(
                        2e6, abs=1e5
                    )
                    played = np.concatenate([f.to_ndarray()[0] for f in media.decode(audio=0)])
                if s.kind == "item":
                    levels.append(meter.integrated_loudness(played.astype(float)))
            elif s.clip == clip and s.kind == "item":
                audio, rate = soundfile.read(folder / name)
                assert rate == SAMPLE_RATE and len(audio) == 2 * SAMPLE_RATE
                levels.append(meter.integrated_loudness(audio))
    assert np.ptp(levels) < 1.0 and np.median(levels) <= -22.9
    names = "".join(files.values())
    assert not any(word in names for word in ("truth", "full", "clip", "high"))


def test_check_videos_say_the_answer(root, study):
    _, files = study
    folder = root / "runs/tiny/listen/media"
    bright = {}
    for s, name in files.items():
        if s.task == "coherence" and s.kind in ("check", "practice"):
            with av.open(str(folder / name)) as media:
                picture = next(media.decode(video=0)).to_ndarray(format="rgb24")
            bright[s.kind] = picture[24:40].mean()
    assert bright["check"] > 120 > bright["practice"]


def test_fill_up_is_a_box(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"12345")
    fill_up(path, 20)
    assert path.read_bytes() == b"12345" + (15).to_bytes(4, "big") + b"free" + bytes(7)


def test_a_changed_study_is_refused(root, study):
    _, files = study
    layout = Layout(root=root, corpus="tiny")
    lost = root / "runs/tiny/listen/media" / next(iter(files.values()))
    kept = lost.read_bytes()
    lost.unlink()
    (lost.parent / ".draft-left.mp4").write_bytes(b"x")
    again = listen.prepare(layout, Params(**PARAMS))
    assert again[1] == files and lost.read_bytes() == kept, "files come back as they were"
    assert sorted(p.name for p in lost.parent.iterdir()) == sorted(files.values())
    with pytest.raises(UserError, match=r"begun with other items"):
        listen.prepare(layout, Params(**PARAMS | {"items": 2}))
    wav = root / "runs/tiny/generate/low-full/clip_002.wav"
    kept = wav.read_bytes()
    write_wav(wav, np.zeros(3 * SAMPLE_RATE, np.float32))
    try:
        with pytest.raises(UserError, match=r"begun with other audio"):
            listen.prepare(layout, Params(**PARAMS))
    finally:
        wav.write_bytes(kept)
