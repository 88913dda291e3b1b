"""The listening study: who hears what, files that tell nothing, votes that last, results with honest intervals, and the
whole of it in a browser."""

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pyloudnorm
import pytest
import soundfile
import torch
import yaml
from builders import build_clip, build_shards

from d2m_model import listen
from d2m_model.generation.finish import write_wav
from d2m_model.listening import sounds
from d2m_model.listening.design import KINDS, Stimulus, hands, headphone_stimuli, session, stimuli_of
from d2m_model.listening.media import fill_up
from d2m_model.listening.results import Criteria, crossed_bootstrap, screen, write_results
from d2m_model.listening.store import Full, OutOfTurn, Store
from d2m_model.listening.web import RATER
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.training.vqvae_files import save_vqvae
from dataset_tools.base.errors import UserError
from dataset_tools.base.timebase import SAMPLE_RATE
from dataset_tools.vision.video_io import rgb_frames, write_clip

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROJECT = Path(__file__).resolve().parents[1]
PARAMS = {"raters": 2, "items": 3, "clips": 2, "seconds": 2, "practice": 1, "checks": 1, "draws": 100}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A working folder with three test clips of 3 s, their videos, two generated systems and a VQ-VAE per level."""
    root = tmp_path_factory.mktemp("listen")
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump({"corpus": "tiny", "listen": PARAMS}))
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
        for factor, system in ((0.2, "high-full"), (0.5, "low-full")):
            hiss = np.random.default_rng(number).standard_normal(len(audio)).astype(np.float32)
            write_wav(root / f"runs/tiny/generate/{system}/{name}.wav", factor * audio + 0.02 * hiss)
    return root


@pytest.fixture(scope="module")
def study(root) -> tuple[Store, dict[Stimulus, str]]:
    layout = listen.layout_of(listen.stage_parser("x", "").parse_args(["--root", str(root), "--corpus", "tiny"]))
    return listen.prepare(layout, listen.load_params(layout.params, "listen", listen.Params))


# Who hears what


def test_hands_are_balanced_and_without_repeats():
    systems, clips = list("abcde"), [f"c{i}" for i in range(12)]
    for items in (1, 7, 44, 60):  # hands that reach into the next deck
        assert all(len(set(hand)) == items for hand in islice(hands(systems, clips, items, seed=3), 26))
    dealt = list(islice(hands(systems, clips, 15, seed=3), 26))
    counts = Counter(pair for hand in dealt for pair in hand)
    assert len(counts) == 60 and max(counts.values()) - min(counts.values()) <= 2
    heard = [Counter(system for system, _ in hand) for hand in dealt]
    assert all(max(c.values()) - min(c.values()) <= 3 and len(c) == 5 for c in heard)
    assert dealt == list(islice(hands(systems, clips, 15, seed=3), 26)) != list(islice(hands(systems, clips, 15, seed=4), 26))
    with pytest.raises(ValueError, match="1 to 60"):
        next(hands(systems, clips, 61, seed=0))


def test_sessions_are_blind_random_and_complete():
    stimuli = headphone_stimuli()
    for task in ("coherence", "quality"):
        stimuli += stimuli_of(task, ["ground truth", "high-full", "low-full"], list("pqrst"))
    plans = [session(stimuli, n, items=6, checks=2, practice=2, seed=0) for n in range(8)]
    assert plans[0] == session(stimuli, 0, items=6, checks=2, practice=2, seed=0) != plans[2]
    for number, plan in enumerate(plans):
        assert len(plan) == 6 + 2 * (2 + 6 + 2) and [s.task for s in plan[:6]] == ["headphones"] * 6
        tasks = list(dict.fromkeys(s.task for s in plan[6:]))
        assert tasks == (["coherence", "quality"] if number % 2 == 0 else ["quality", "coherence"])
        for task in tasks:
            part = [s for s in plan if s.task == task]
            assert [s.kind for s in part[:2]] == ["practice", "practice"] and part[2].kind == "item"
            assert Counter(s.kind for s in part) == {"practice": 2, "item": 6, "check": 2}
            assert not any(a.kind == b.kind == "check" for a, b in pairwise(part))
    assert len({tuple(p[6:]) for p in plans}) == 8


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


def test_systems_can_be_chosen(root):
    layout = listen.Layout(root=root, corpus="tiny")
    both = ["ground truth", "high-full", "low-full", "VQ reconstruction high", "VQ reconstruction low"]
    assert sounds.systems_of(layout) == {"coherence": [*both, "shuffled ground truth"], "quality": both}
    assert sounds.systems_of(layout, ["low-full"])["quality"] == ["ground truth", "low-full", *both[3:]]
    with pytest.raises(UserError, match="no folder 'high-no_fm'"):
        sounds.systems_of(layout, ["high-no_fm"])


def test_headphone_tones_cancel_only_in_the_air():
    sound = sounds.headphone_sound((1, 2, 0))
    second = lambda k: sound[round((0.25 + 1.5 * k) * SAMPLE_RATE) :][:SAMPLE_RATE]
    power = lambda x: float((x.astype(float) ** 2).mean())
    anti, quiet, plain = (second(k) for k in range(3))
    assert power(anti.sum(axis=1)) < 1e-9 < power(quiet.sum(axis=1))
    assert power(anti[:, 0]) == pytest.approx(power(plain[:, 0])) and power(plain[:, 0]) == pytest.approx(4 * power(quiet[:, 0]))
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
                    assert media.streams.audio[0].codec_context.name == "aac" and media.duration == pytest.approx(2e6, abs=1e5)
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
    layout = listen.Layout(root=root, corpus="tiny")
    lost = root / "runs/tiny/listen/media" / next(iter(files.values()))
    kept = lost.read_bytes()
    lost.unlink()
    (lost.parent / ".draft-left.mp4").write_bytes(b"x")
    again = listen.prepare(layout, listen.Params(**PARAMS))
    assert again[1] == files and lost.read_bytes() == kept, "files come back as they were"
    assert sorted(p.name for p in lost.parent.iterdir()) == sorted(files.values())
    with pytest.raises(UserError, match=r"begun with other items"):
        listen.prepare(layout, listen.Params(**PARAMS | {"items": 2}))
    wav = root / "runs/tiny/generate/low-full/clip_002.wav"
    kept = wav.read_bytes()
    write_wav(wav, np.zeros(3 * SAMPLE_RATE, np.float32))
    try:
        with pytest.raises(UserError, match=r"begun with other sounds"):
            listen.prepare(layout, listen.Params(**PARAMS))
    finally:
        wav.write_bytes(kept)


# Votes


def small_store(path: Path, steps: int = 4) -> tuple[Store, list[str]]:
    store = Store(path)
    files = {f"f{i}": Stimulus(task="quality", kind="item", system=f"s{i}", clip="c") for i in range(steps)}
    store.offer(files)
    return store, list(files)


def test_each_vote_once_and_in_turn(tmp_path):
    store, files = small_store(tmp_path / "study.db")
    assert store.join("anna", 2, lambda n: files) == 0 == store.join("anna", 2, lambda n: [])
    assert store.join("berta", 2, lambda n: files) == 1
    with pytest.raises(Full):
        store.join("carla", 2, lambda n: files)
    store.vote(0, 0, 4)
    store.vote(0, 0, 1)  # sent again: the first stands
    for position in (2, 4, 99, -1):
        if position > 0:
            with pytest.raises(OutOfTurn):
                store.vote(0, position, 3)
    assert [(v["rater"], v["position"], v["score"]) for v in store.votes()] == [(0, 0, 4)]
    with pytest.raises(sqlite3.IntegrityError):
        store.vote(0, 1, 6)
    again = Store(tmp_path / "study.db")
    assert again.step(0).position == 1 and again.step(0).file == "f1" and again.step(1).first_of_task
    for position in range(1, 4):
        again.vote(0, position, 5)
    assert again.step(0).file is None
    with pytest.raises(OutOfTurn):
        again.vote(0, 4, 5)


def test_many_raters_at_once(tmp_path):
    """Six join and vote at the same time, each sending every vote twice: six numbers, every vote once."""
    store, files = small_store(tmp_path / "study.db", steps=5)

    def take_part(rater: int) -> int:
        number = store.join(f"rater-{rater}", 6, lambda n: files)
        for position in range(5):
            store.vote(number, position, 1 + (number + position) % 5)
            store.vote(number, position, 1)
        return number

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(take_part, range(6))) == list(range(6))
    votes = [(v["rater"], v["position"], v["score"]) for v in store.votes()]
    assert votes == [(n, p, 1 + (n + p) % 5) for n in range(6) for p in range(5)]


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "study.db").mkdir()
    with pytest.raises(UserError, match="can't be used"):
        Store(tmp_path / "study.db")


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "study.db").write_text("not a database, and long enough to be read as one" * 20)
    with pytest.raises(UserError, match="not a study's database"):
        Store(tmp_path / "study.db")


def test_pages_refuse_what_is_not_theirs(root, study):
    app = listen.application(listen.Layout(root=root, corpus="tiny"), listen.Params(**PARAMS))
    _, files = study
    some = next(iter(files.values()))
    stranger = app.test_client()
    assert stranger.get(f"/media/{some}").status_code == 404 and stranger.get("/study").status_code == 303
    assert stranger.post("/vote", json={"position": 0, "score": 3}).status_code == 403
    assert stranger.get("/?rater=../../x").status_code == 400 and stranger.post("/join", data={"rater": "a b"}).status_code == 400
    rater = app.test_client()
    assert rater.get("/").status_code == 200
    assert rater.post("/join", data={"rater": "invited-01"}).status_code == 303
    page = rater.get("/study").get_data(as_text=True)
    assert not any(word in page for word in ("ground truth", "full", "clip_0", "practice", "VQ")) and "1 of" in page
    for path in ("/media/../study.db", "/media/%2e%2e/study.db", "/media/" + "0" * 24 + ".mp4", "/media/.draft-x.mp4", "/static/../web.py"):
        assert rater.get(path).status_code == 404, path
    whole = rater.get(f"/media/{some}")
    assert whole.status_code == 200 and "ETag" not in whole.headers and whole.headers["Last-Modified"].endswith("1970 00:00:00 GMT")
    part = rater.get(f"/media/{some}", headers={"Range": "bytes=0-99"})
    assert part.status_code == 206 and len(part.data) == 100
    for bad in ({}, {"position": 0}, {"position": 0, "score": "3"}, {"position": 0, "score": 4}, {"position": -1, "score": 3},
                {"position": True, "score": 3}, {"position": 0, "score": 2.5}, [1]):  # fmt: skip
        assert rater.post("/vote", json=bad).status_code == 400, bad  # the first step has three tones: 4 is off its scale
    assert rater.post("/vote", data="x" * 5000, content_type="application/json").status_code in (400, 413)
    assert rater.post("/vote", json={"position": 3, "score": 3}).status_code == 409
    assert rater.post("/vote", json={"position": 0, "score": 3}).json == {"ok": True}
    assert "default-src 'self'" in whole.headers["Content-Security-Policy"]
    assert RATER.fullmatch("invited-01") and not RATER.fullmatch("x\n")


# Results


def panel(rng, raters=26, clips=12, means=(("ground truth", 4.4), ("model", 3.0)), per=8) -> pd.DataFrame:
    """Votes with rater and clip effects of mean 0: the systems' means are known exactly."""
    a, b = rng.normal(0, 0.5, raters), rng.normal(0, 0.4, clips)
    rows = []
    for system, mean in means:
        for r in range(raters):
            for c in rng.choice(clips, per, replace=False):
                rows.append((system, r, c, mean + a[r] + b[c] + rng.normal(0, 0.7)))
    return pd.DataFrame(rows, columns=["system", "rater", "clip", "score"])


def test_intervals_cover_the_truth_and_naive_ones_do_not():
    rng = np.random.default_rng(0)
    covered, naive, widths = 0, 0, []
    for trial in range(150):
        votes = panel(rng, means=(("model", 3.0),))
        mean, low, high = crossed_bootstrap(votes.rater, votes["clip"], votes.score, draws=300, seed=trial)
        half = 1.96 * votes.score.std() / np.sqrt(len(votes))
        covered += low <= 3.0 <= high
        naive += abs(mean - 3.0) <= half
        widths.append(high - low)
    assert covered >= 0.90 * 150 and naive < 0.75 * 150
    assert 0.5 < np.mean(widths) < 0.9  # 4 sqrt(0.25/26 + 0.16/12) = 0.61


def test_bootstrap_of_too_little_has_no_interval():
    assert crossed_bootstrap([1, 1], ["a", "b"], [3, 5])[0] == 4 and np.isnan(crossed_bootstrap([1, 1], ["a", "b"], [3, 5])[1])
    assert np.isnan(crossed_bootstrap([], [], [])[0])


def vote_everything(store: Store, deal, answer, raters: int) -> None:
    """Let `raters` raters answer all their steps: answer(number, stimulus) -> score."""
    for number in range(raters):
        store.join(f"rater-{number}", raters, deal)
        while (step := store.step(number)).stimulus:
            store.vote(number, step.position, answer(number, step.stimulus))


def test_results_screen_recover_means_and_publish_votes(tmp_path):
    store = Store(tmp_path / "study.db")
    true = {"ground truth": 4.5, "high-full": 3.2, "shuffled ground truth": 1.6}
    stimuli = headphone_stimuli() + [s for t in ("coherence", "quality") for s in stimuli_of(t, list(true), [f"c{i}" for i in range(8)])]
    files = {s: f"file{i}" for i, s in enumerate(stimuli)}
    store.offer({f: s for s, f in files.items()})
    deal = lambda n: [files[s] for s in session(stimuli, n, items=9, checks=1, practice=1, seed=0)]
    rng = np.random.default_rng(0)

    def answer(number: int, s: Stimulus) -> int:
        if s.answer:
            careless = (number == 3 and s.kind == "headphones") or (number in (4, 5) and s.kind == "check")
            return s.answer % 3 + 1 if careless else s.answer
        mean = 3.0 if number in (3, 4, 5) else true[s.system]
        return int(np.floor(mean)) + int(rng.random() < mean % 1) if s.kind == "item" else 1

    vote_everything(store, deal, answer, 16)
    lines = write_results(store, tmp_path, Criteria(), draws=400, seed=0)
    found = json.loads((tmp_path / "mos.json").read_text())
    assert found["raters"] == {
        "joined": 16, "finished": 16, "kept": 13, "failed_headphones": 1, "failed_attention": 2,
        "votes": 16 * 18, "votes_kept": 13 * 18,
    }  # fmt: skip
    for task in ("coherence", "quality"):
        for system, mean in true.items():
            entry = found[task][system]
            assert entry["low"] <= mean <= entry["high"] and abs(entry["mos"] - mean) < 0.25 and entry["votes"] >= 30
        assert found["everyone"][task]["ground truth"]["mos"] < found[task]["ground truth"]["mos"]
    assert "13 kept" in lines[0] and any("with everyone" in line for line in lines)
    raw = pd.read_csv(tmp_path / "votes.csv")
    assert len(raw) == 16 * (6 + 2 * 11) and set(raw.rater) == {f"rater{n:03d}" for n in range(1, 17)}
    assert set(raw[~raw.kept].rater) == {"rater004", "rater005", "rater006"} and "rater-0" not in (tmp_path / "votes.csv").read_text()
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.[cj]s*")}
    write_results(store, tmp_path, Criteria(), draws=400, seed=0)
    assert before == {p.name: p.read_bytes() for p in tmp_path.glob("*.[cj]s*")}


def test_screening_keeps_who_stopped_early_unless_they_failed():
    votes = pd.DataFrame(
        [(0, "headphones", 1, 1)] * 6 + [(0, "item", 3, None)] + [(1, "headphones", 1, 1)] * 2 + [(2, "headphones", 1, 1)] * 5
        + [(2, "headphones", 2, 1), (2, "check", 2, 4)],
        columns=["rater", "kind", "score", "answer"],
    )  # fmt: skip
    table = screen(votes, {0: 20, 1: 20, 2: 20, 3: 20}, Criteria()).set_index("rater")
    assert list(table.kept) == [True, False, False, False]
    assert table.loc[1, "reason"] == "headphones" and table.loc[2, "reason"] == "attention" and table.loc[3, "answered"] == 0


def test_results_without_a_study_are_one_line(root, tmp_path):
    (tmp_path / "manifests/tiny").mkdir(parents=True)
    shutil.copy(root / "params.yaml", tmp_path / "params.yaml")
    with pytest.raises(UserError, match="no study yet"):
        listen.main(["--results", "--root", str(tmp_path), "--corpus", "tiny"])


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
        base.executescript("DELETE FROM votes; DELETE FROM steps; DELETE FROM raters;")
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
                page.evaluate("document.getElementById('media').defaultPlaybackRate = 8; document.getElementById('media').playbackRate = 8")
                page.keyboard.press("Space")
                page.locator("#scale:not([disabled])").wait_for(timeout=120_000)  # a busy machine plays slowly
                stimulus = base.step(0).stimulus
                page.keyboard.press(str(stimulus.answer or 3))
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
    assert listen.main(["--results", "--root", str(home), "--corpus", "tiny"]) == 0
    found = json.loads((home / "runs/tiny/listen/mos.json").read_text())
    assert found["raters"]["kept"] == 1 and found["raters"]["votes"] == 6


def test_a_taken_port_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="another --port"):
            listen.serve(lambda *_: [], "127.0.0.1", taken.getsockname()[1])
