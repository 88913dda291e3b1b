"""The listening study: sounds at one loudness, files that tell nothing, pages that take no more than they should, and the
whole of it in a browser."""

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pyloudnorm
import pytest
import soundfile
import torch
import yaml

from d2m_model.generate.finish import write_wav
from d2m_model.listen import __main__ as listen_command
from d2m_model.listen import sounds
from d2m_model.listen import stage as listen
from d2m_model.listen.design import KINDS, Stimulus, headphone_stimuli
from d2m_model.listen.media import fill_up
from d2m_model.listen.params import Params
from d2m_model.listen.store import Store
from d2m_model.listen.web import RATER, create_app
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.training.vqvae_files import save_vqvae
from dataset_tools.lib.core.cli import layout_of, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from tests.helpers.builders import build_clip, build_shards

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROJECT = Path(__file__).resolve().parents[3]
NAMED = {
    "levels": ["high", "low"],
    "models": ["full"],
    "systems": ["cmt"],
    "evaluate": {"others": {"CDCD": "external/cdcd"}},
}
PARAMS = {
    "systems": ["high-full", "low-full"],
    "raters": 2,
    "items": 3,
    "clips": 2,
    "seconds": 2,
    "practice": 1,
    "checks": 1,
    "draws": 100,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A working folder with three test clips of 3 s, their videos, two models, a baseline and a system of others, and a
    VQ-VAE per level."""
    root = tmp_path_factory.mktemp("listen")
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(NAMED | {"corpus": "tiny", "listen": PARAMS}))
    build_shards(root / "data/tiny/shards", clips=3, seconds=3, split="test")
    torch.manual_seed(0)
    model = JukeboxVQVAE(VqVaeConfig(width=8, depth=1, multipliers=(1, 1, 1), bins=16))
    for level in ("high", "low"):
        save_vqvae(root / f"runs/tiny/synthesizer/{level}/model.pt", model, {})
    clips = root / "data/tiny/clips"
    clips.mkdir(parents=True)
    for number in range(3):
        name, audio = f"clip_{number:03d}", build_clip(number, seconds=3).audio
        pictures = (np.full((64, 48, 3), (20 + 2 * i, 90, 30 * number), np.uint8) for i in range(90))
        write_clip(clips / f"{name}.mp4", rgb_frames(pictures), None)
        made = (
            (0.2, "runs/tiny/generate/high-full"),
            (0.5, "runs/tiny/generate/low-full"),
            (0.3, "runs/tiny/baselines/cmt"),
            (0.1, "external/cdcd"),
        )
        for factor, folder in made:
            hiss = np.random.default_rng(number).standard_normal(len(audio)).astype(np.float32)
            write_wav(root / f"{folder}/{name}.wav", factor * audio + 0.02 * hiss)
    return root


@pytest.fixture(scope="module")
def study(root) -> tuple[Store, dict[Stimulus, str]]:
    layout = layout_of(stage_parser("x", "").parse_args(["--root", str(root), "--corpus", "tiny"]))
    return listen.prepare(layout, load_params(layout.params, "listen", Params))


# Sounds and files


def test_loudness_is_one_and_nothing_clips():
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    found = {"soft": 0.01 * np.sin(2000 * t), "loud": 0.9 * np.sin(2000 * t), "silent": np.zeros(len(t))}
    gains, level = sounds.loudness_gains(found, -23.0)
    meter = pyloudnorm.Meter(SAMPLE_RATE)
    assert level == -23 and gains["silent"] == 1
    for name in ("soft", "loud"):
        assert meter.integrated_loudness(gains[name] * found[name]) == pytest.approx(-23, abs=0.01)
    peaky = np.zeros(len(t))
    peaky[::11025] = 0.5
    gains, level = sounds.loudness_gains(found | {"peaky": peaky}, -23.0)
    assert level < -23.5 and np.abs(gains["peaky"] * peaky).max() == pytest.approx(sounds.HEADROOM)
    assert meter.integrated_loudness(gains["loud"] * found["loud"]) == pytest.approx(level, abs=0.01)


def test_any_system_of_table_1_can_be_judged(root):
    layout = Layout(root=root, corpus="tiny")
    coded, named = ["VQ reconstruction high", "VQ reconstruction low"], ["high-full", "low-full", "cmt", "CDCD"]
    assert sounds.systems_of(layout) == {
        "coherence": ["ground truth", *named, *coded, "shuffled ground truth"],
        "quality": ["ground truth", *named, *coded],
    }
    chosen = sounds.systems_of(layout, ["cmt", "white noise", "shuffled ground truth", coded[0]])
    assert chosen == {
        "coherence": ["ground truth", "cmt", "white noise", *coded, "shuffled ground truth"],
        "quality": ["ground truth", "cmt", "white noise", *coded],
    }
    with pytest.raises(
        UserError, match="no system 'high-no_fm'; there are: high-full, low-full, cmt, CDCD, ground truth"
    ):
        sounds.systems_of(layout, ["high-no_fm"])
    with pytest.raises(
        UserError,
        match="no system 'VQ reconstruction top'; there are: .*, VQ reconstruction high, VQ reconstruction low$",
    ):
        sounds.systems_of(layout, ["cmt", "VQ reconstruction top"])


def test_the_sounds_of_any_system_of_any_split(root, tmp_path):
    layout = Layout(root=tmp_path, corpus="tiny")
    for folder in ("data", "runs", "external"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("listen"))
    layout.params.write_text((root / "params.yaml").read_text())
    test, val = (
        ShardSet(layout.stage("shards"), "test"),
        build_shards(layout.stage("shards"), clips=2, seconds=3, split="val", first=7),
    )
    for system in ("cmt", "CDCD"):
        made = sounds.system_audio(layout, test, system, ["clip_001"], 0)["clip_001"]
        np.testing.assert_array_equal(
            made, sounds.read_audio(sounds.named_systems(layout)[system].folder / "clip_001.wav")
        )
    write_wav(layout.root / "external/cdcd/clip_001.wav", np.ones(SAMPLE_RATE, np.float32))
    short = sounds.system_audio(layout, test, "CDCD", ["clip_001"], 0)["clip_001"]
    assert len(short) == 3 * SAMPLE_RATE and short[:SAMPLE_RATE].all() and not short[SAMPLE_RATE:].any()
    assert not sounds.system_audio(layout, test, "silence", ["clip_001"], 0)["clip_001"].any()
    own, other = (
        sounds.system_audio(layout, val, name, ["clip_007"], 0)["clip_007"]
        for name in (sounds.TRUTH, sounds.MISMATCHED)
    )
    np.testing.assert_array_equal(other, val.read("clip_008", 0, 90).audio)
    assert not np.array_equal(own, other)
    before = sounds.study_key(layout, "test", ["CDCD", "ground truth"], ["clip_000"])
    assert before != sounds.study_key(layout, "test", ["CDCD", "ground truth"], ["clip_001"])
    with pytest.raises(
        UserError,
        match="cdcd/clip_007.wav: file not found; cdcd must hold <clip_id>.wav for each clip of the val split",
    ):
        sounds.study_key(layout, "val", ["CDCD"], ["clip_007"])
    with pytest.raises(
        UserError,
        match="run `dvc repro` or `python -m d2m_model.baselines --corpus tiny --system cmt`, with baselines.split: val",
    ):
        sounds.study_key(layout, "val", ["cmt"], ["clip_007"])


def test_headphone_tones_cancel_only_in_the_air():
    sound = sounds.headphone_sound((1, 2, 0))
    second = lambda k: sound[round((0.25 + 1.5 * k) * SAMPLE_RATE) :][:SAMPLE_RATE]
    power = lambda x: float((x.astype(float) ** 2).mean())
    anti, quiet, plain = (second(k) for k in range(3))
    assert power(anti.sum(axis=1)) < 1e-9 < power(quiet.sum(axis=1))
    assert power(anti[:, 0]) == pytest.approx(power(plain[:, 0])) and power(plain[:, 0]) == pytest.approx(
        4 * power(quiet[:, 0])
    )
    assert {s.clip: s.answer for s in headphone_stimuli()}["120"] == 2


@pytest.mark.parametrize("count", [1, 5])
def test_beeps_can_be_counted(count):
    sound = sounds.counted_beeps(np.zeros(3 * SAMPLE_RATE, np.float32), count)
    loud = np.convolve(np.abs(sound), np.ones(200) / 200, "same") > 0.05
    assert int((np.diff(loud.astype(int)) == 1).sum()) == count and len(sound) == 3 * SAMPLE_RATE


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
        with pytest.raises(UserError, match=r"begun with other sounds"):
            listen.prepare(layout, Params(**PARAMS))
    finally:
        wav.write_bytes(kept)


# Pages


def test_pages_refuse_what_is_not_theirs(root, study):
    store, files = study
    now = [1000.0]
    deal = lambda number: [name for s, name in files.items() if s.kind == "headphones"]
    app = create_app(store, root / "runs/tiny/listen/media", deal, places=1, consent="# A study", clock=lambda: now[0])
    some = next(iter(files.values()))
    stranger = app.test_client()
    assert stranger.get(f"/media/{some}").status_code == 404 and stranger.get("/study").status_code == 303
    assert stranger.post("/vote", json={"position": 0, "score": 3}).status_code == 403
    assert (
        stranger.get("/?rater=../../x").status_code == 400
        and stranger.post("/join", data={"rater": "a b"}).status_code == 400
    )
    rater = app.test_client()
    assert rater.get("/").status_code == 200
    assert rater.post("/join", data={"rater": "invited-01"}).status_code == 303
    page = rater.get("/study").get_data(as_text=True)
    assert not any(word in page for word in ("ground truth", "full", "clip_0", "practice", "VQ")) and "1 of" in page
    for path in (
        "/media/../study.db",
        "/media/%2e%2e/study.db",
        "/media/" + "0" * 24 + ".mp4",
        "/media/.draft-x.mp4",
        "/static/../web.py",
    ):
        assert rater.get(path).status_code == 404, path
    whole = rater.get(f"/media/{some}")
    assert (
        whole.status_code == 200
        and "ETag" not in whole.headers
        and whole.headers["Last-Modified"].endswith("1970 00:00:00 GMT")
    )
    part = rater.get(f"/media/{some}", headers={"Range": "bytes=0-99"})
    assert part.status_code == 206 and len(part.data) == 100
    for bad in ({}, {"position": 0}, {"position": 0, "score": "3"}, {"position": 0, "score": 4}, {"position": -1, "score": 3},
                {"position": True, "score": 3}, {"position": 0, "score": 2.5}, [1]):  # fmt: skip
        assert rater.post("/vote", json=bad).status_code == 400, (
            bad
        )  # the first step has three tones: 4 is off its scale
    assert rater.post("/vote", data="x" * 5000, content_type="application/json").status_code in (400, 413)
    for body in (
        "[" * 4000,
        '{"position":' * 340,
        "9" * 4000,
        '{"position": 0, "score": ' + "9" * 3000 + "}",
        '"\\ud800"',
        b"\xff",
    ):
        assert rater.post("/vote", data=body, content_type="application/json").status_code == 400, body[:20]
    assert rater.post("/vote", json={"position": 3, "score": 3}).status_code == 409
    early = rater.post("/vote", json={"position": 0, "score": 3})
    assert early.status_code == 403 and early.json == {"error": "listen to the end first"}
    now[0] += 4.0  # of the 4.75 s of three tones
    assert (
        rater.get("/study").status_code == 200
        and rater.post("/vote", json={"position": 0, "score": 3}).status_code == 403
    )
    now[0] += 0.5
    assert rater.post("/vote", json={"position": 0, "score": 3}).json == {"ok": True}
    now[0] += 100
    assert rater.post("/vote", json={"position": 1, "score": 3}).status_code == 403, "its page was never asked for"
    assert rater.post("/vote", json={"position": 0, "score": 1}).json == {"ok": True}, "sent again: the first stands"
    assert "default-src 'self'" in whole.headers["Content-Security-Policy"]
    assert RATER.fullmatch("invited-01") and not RATER.fullmatch("x\n")


def test_a_database_that_breaks_while_people_vote_is_no_traceback(root, tmp_path, capfd):
    store = Store(tmp_path / "study.db")
    app = create_app(store, root, lambda number: [], places=1, consent="# A study")
    rater = app.test_client()
    assert rater.post("/join", data={"rater": "invited-01"}).status_code == 303
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged" * 1000)
    assert (
        rater.get("/study").status_code == 503
        and rater.post("/vote", json={"position": 0, "score": 3}).status_code == 503
    )
    said = capfd.readouterr()
    assert "listen: error:" in said.err and "study.db" in said.err and "Traceback" not in said.out + said.err


def test_results_without_a_study_are_one_line(root, tmp_path):
    (tmp_path / "manifests/tiny").mkdir(parents=True)
    shutil.copy(root / "params.yaml", tmp_path / "params.yaml")
    with pytest.raises(UserError, match="no study yet"):
        listen_command.main(["--results", "--root", str(tmp_path), "--corpus", "tiny"])


# The whole of it


def serve(root: Path, port: int) -> subprocess.Popen:
    """A server on this port, once it answers."""
    command = [sys.executable, "-m", "d2m_model.listen", "--root", str(root), "--corpus", "tiny", "--port", str(port)]
    server = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    for line in server.stdout:
        if "open http" in line:
            return server
    raise AssertionError(f"the server ended with {server.wait()}")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_rater_from_first_page_to_last(root, study, tmp_path):
    """One rater goes through everything by keyboard; the browser dies once, and the server is killed once mid-vote."""
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    home = tmp_path / "root"
    shutil.copytree(root, home)
    with sqlite3.connect(home / "runs/tiny/listen/study.db") as base:  # nobody has joined yet
        base.executescript("DELETE FROM votes; DELETE FROM shown; DELETE FROM steps; DELETE FROM raters;")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = serve(home, port)
    base = Store(home / "runs/tiny/listen/study.db")
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
            page = context.new_page()
            outside = []
            page.on("request", lambda r: r.url.startswith((address, "data:")) or outside.append(r.url))
            page.goto(address)
            page.get_by_role("button", name="I agree").click()
            total = base.step(0).total
            assert total == 6 + 2 * (1 + 3 + 1)
            for position in range(total):
                if position == 3:  # the browser dies; another one with the same cookie goes on at the same place
                    cookies = context.storage_state()
                    browser.close()
                    browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
                    context = browser.new_context(viewport={"width": 390, "height": 844}, storage_state=cookies)
                    page = context.new_page()
                    page.goto(address)
                page.get_by_text(f"{position + 1} of {total}").wait_for()
                assert page.locator("#next:disabled").count() and page.locator("#scale:disabled").count()
                assert page.evaluate("document.documentElement.scrollWidth") <= 390
                page.keyboard.press("3")
                assert page.locator("input:checked").count() == 0, "no answer before the end"
                page.evaluate(
                    "document.getElementById('media').defaultPlaybackRate = 8; document.getElementById('media').playbackRate = 8"
                )
                page.keyboard.press("Space")
                page.locator("#scale:not([disabled])").wait_for(timeout=120_000)  # a busy machine plays slowly
                stimulus = base.step(0).stimulus
                page.keyboard.press(str(stimulus.answer or 3))
                if position == 5:  # too soon for the server: the same step once more
                    page.keyboard.press("Enter")
                    page.locator("#scale:disabled").wait_for()
                    page.keyboard.press("Space")
                    page.locator("#scale:not([disabled])").wait_for(timeout=120_000)
                    page.keyboard.press(str(stimulus.answer or 3))
                with sqlite3.connect(
                    home / "runs/tiny/listen/study.db"
                ) as times:  # as if it had been played at its speed
                    times.execute("UPDATE shown SET at = at - 60")
                if position == 8:  # the server is killed before the vote reaches it
                    server.kill()
                    server.wait()
                    page.keyboard.press("Enter")
                    page.get_by_text("Your answer is kept").wait_for()
                    server = serve(home, port)
                else:
                    page.keyboard.press("Enter")
            page.get_by_role("heading", name="Thank you!").wait_for(timeout=20_000)
            assert outside == []
            browser.close()
    finally:
        server.terminate()  # SIGINT is ignored by whatever a script starts in the background
        server.wait(timeout=20)
    votes = base.votes()
    assert [v["position"] for v in votes] == list(range(total)) and all(v["score"] == (v["answer"] or 3) for v in votes)
    assert listen_command.main(["--results", "--root", str(home), "--corpus", "tiny"]) == 0
    found = json.loads((home / "runs/tiny/listen/mos.json").read_text())
    assert found["raters"]["kept"] == 1 and found["raters"]["votes"] == 6


def test_a_taken_port_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="another --port"):
            listen_command.serve(lambda *_: [], "127.0.0.1", taken.getsockname()[1])
