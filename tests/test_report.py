"""The report page: self-contained, and shown by a real browser at phone and desktop width."""

import base64
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from d2m_model.page import plots
from d2m_model.report import clip_card, mp3, score_cards

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def browse(*args: str) -> subprocess.CompletedProcess:
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    return subprocess.run([BROWSER, *quiet, *args], capture_output=True, text=True, check=False, timeout=120)


def test_timeline_has_a_tick_per_onset_and_escapes_names():
    svg = plots.beat_timeline({"own music": np.array([1.0, 2.0]), "<b>": np.array([9.0])}, np.array([0.5]), 4.0)
    assert svg.count('stroke-width="2.5"') == 2 and svg.count("stroke-dasharray") == 1
    assert "<b>" not in svg


def test_plots_are_the_same_bytes_again(tmp_path):
    (tmp_path / "curves.csv").write_text("step,mel,adv\n1,4.0,0.5\n2,2.0,0.4\n3,1.0,\n")
    assert plots.loss_curves(tmp_path / "curves.csv", "x") == plots.loss_curves(tmp_path / "curves.csv", "x")


def test_mp3_is_playable():
    import io

    import soundfile

    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(mp3(np.sin(np.arange(22050) / 10).astype(np.float32)))))
    assert rate == 22050 and len(audio) >= 22050


def test_score_cards_show_interval():
    p4 = {"difference": 0.12, "difference_low": 0.02, "difference_high": 0.2, "own": 0.5}
    assert score_cards({"high-full": {"P4": {"beats_70ms": p4}}}, "beats") == [
        {"name": "high-full", "value": "+0.120", "text": "95 % +0.020 to +0.200 · own 0.500"}
    ]


def test_page_is_self_contained(pipeline):
    page = (pipeline / "runs/demo/report/index.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#)', page), "everything is embedded"
    assert page.count('class="clip"') >= 2 and "High w/o motion" in page and "playhead" in page


def test_card_of_a_clip_holds_its_sounds_scores_and_timeline(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"video")
    clip = SimpleNamespace(clip_id="a", genre="pop", song="s")
    rows = [("a", "model", 0.8, 0.25), ("b", "model", 0.1, 0.9)]
    scores = pd.DataFrame(rows, columns=["clip_id", "system", "P4_onsets_own", "P4_onsets_other"])
    sound = np.zeros(22050 * 3 // 2, np.float32)
    card = clip_card(clip, sound, {"model": sound}, None, tmp_path / "a.mp4", scores)
    assert card["id"] == "a" and card["seconds"] == "1.5" and base64.b64decode(card["video"]) == b"video"
    assert [track["name"] for track in card["tracks"]] == ["own music", "model"] and "<svg" in card["timeline"]
    assert card["text"] == "model: F 0.80 own, 0.25 other dances"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_browser_shows_the_page(pipeline, tmp_path, width):
    page = pipeline / "runs/demo/report/index.html"
    picture = tmp_path / "page.png"
    browse(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2400", f"--screenshot={picture}", f"file://{page}")
    import cv2

    image = cv2.imread(str(picture))
    assert image is not None and image.shape[1] >= min(width, 500) and image.std() > 10
    dom = browse(f"--user-data-dir={tmp_path / 'profile2'}", "--dump-dom", f"file://{page}").stdout
    assert dom.count("<video") >= 2 and 'id="tables"' in dom
