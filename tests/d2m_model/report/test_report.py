"""The report page: self-contained, and shown by a real browser at phone and desktop width."""

import base64
import re
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from d2m_model.report import breakdown, plots
from d2m_model.report.crops import crop_picture
from d2m_model.report.params import Params
from d2m_model.report.stage import clip_card, curve_files, folders_of, mp3, table_views
from dataset_tools.lib.core.layout import Layout
from tests.helpers.footage import timed_video

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_timeline_has_a_tick_per_onset_and_escapes_names():
    rows = {"own music": np.array([1.0, 2.0]), "cmt": np.array([3.0]), "<b>": np.array([9.0])}
    svg = plots.beat_timeline(rows, np.array([0.5]), 4.0, {"own music", "<b>"})
    assert (
        svg.count('stroke-width="2.5"') == 3 and svg.count("stroke-dasharray") == 1 and svg.count('display="none"') == 1
    )
    assert (
        "<b>" not in svg
        and '"translate(0 44)">' in svg
        and 'data-row="cmt" transform="translate(0 44)" display="none"' in svg
    )


def test_plots_are_the_same_bytes_again(tmp_path):
    (tmp_path / "curves.csv").write_text("step,mel,adv\n1,4.0,0.5\n2,2.0,0.4\n3,1.0,\n")
    once = plots.loss_curves(tmp_path / "curves.csv", "x")
    assert len(once) == 1 and once == plots.loss_curves(tmp_path / "curves.csv", "x")


def test_each_level_and_the_p4_difference_have_their_own_figure(tmp_path):
    names = [f"{name}_level_{level}" for level in (0, 1) for name in ("loss", "P4_difference")]
    rows = [
        ",".join(["step", *names]),
        *(f"{step},{4 - step},{0.1 * step},{4 - step},{0.1 * step}" for step in range(3)),
    ]
    (tmp_path / "curves.csv").write_text("\n".join(rows))
    titles = [f["title"] for f in plots.loss_curves(tmp_path / "curves.csv", "vqvae")]
    assert titles == [f"vqvae, level {n}{part}" for n in (0, 1) for part in ("", ": P4 difference")]


def test_mp3_is_playable():
    import io

    import soundfile

    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(mp3(np.sin(np.arange(22050) / 10).astype(np.float32)))))
    assert rate == 22050 and len(audio) >= 22050


def test_tables_keep_their_notes_and_mark_controls_and_models(tmp_path):
    for name in ("systems", *(f"table{n}" for n in range(1, 7))):
        (tmp_path / f"{name}.md").write_text(
            "## A title\n\n| a |\n|:-|\n| 1 |\n\nNot run: high-d1; `dvc repro`.\n\nControls: none.\n"
        )
        (tmp_path / f"{name}.csv").write_text("a\nGT\nsilence\nHigh full\n")
    rows = ("1,GT,ground truth", "1,High full,high-full", "1,silence,silence", "2,GT,no_such", "2,silence,silence")
    (tmp_path / "cells.csv").write_text("\n".join(["table,method,system", *rows]))
    systems, first, second = table_views(
        tmp_path, {"ground truth": "control", "silence": "control", "high-full": "model"}
    )[:3]
    assert (
        first["note"] == "Not run: high-d1; dvc repro.\n\nControls: none."
        and first["title"] == "A title"
        and first["header"] == ["a"]
    )
    assert first["rows"][0] == {"cells": ["GT"], "kind": "control"}
    kinds = [[row["kind"] for row in view["rows"]] for view in (systems, first, second)]
    assert kinds == [["", "control", ""], ["control", "control", "chosen"], ["", "control", ""]]


def per_clip() -> pd.DataFrame:
    """Scores of two systems on six clips: the model's difference is 0.1 times the clip's number, the control's 0."""
    rows = [
        {"system": system, "clip_id": f"c{n}", "song": f"s{n // 2}", "genre": "ab"[n % 2], "P4_beats_own": 0.3 + gain * n, "P4_beats_other": 0.3}
        for system, gain in (("high-full", 0.1), ("silence", 0.0))
        for n in range(6)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_breakdowns_and_extremes():
    frame = breakdown.differences(per_clip(), "beats")
    view = breakdown.by_group(frame, frame.genre, "Per genre", {"high-full": "model", "silence": "control"})
    assert view["header"] == ["system", "a (3)", "b (3)"]
    assert view["rows"] == [
        {"cells": ["high-full", "+0.200", "+0.300"], "kind": "chosen"}, {"cells": ["silence", "+0.000", "+0.000"], "kind": "control"},
    ]  # fmt: skip
    tempi = breakdown.tempo_groups(pd.DataFrame({"song_id": ["s0", "s1", "s2"], "tempo": ["99.5", "", "120"]}))
    assert tempi == {"s0": "80 to 99 BPM", "s2": "120 to 139 BPM"}
    assert breakdown.by_group(frame, frame.song.map(tempi), "", {"silence": ""})["header"] == [
        "system",
        "80 to 99 BPM (2)",
        "120 to 139 BPM (2)",
    ]
    rows = breakdown.extremes(frame, ["high-full"], count=2)["rows"]
    assert [(r["cells"][2].striptags(), r["cells"][5], r["kind"]) for r in rows] == [
        ("c5", "+0.500", "best"), ("c4", "+0.400", "best"), ("c1", "+0.100", "worst"), ("c0", "+0.000", "worst"),
    ]  # fmt: skip
    clips = [f"c{n}" for n in range(6)]
    assert (
        breakdown.shown_clips(frame, ["high-full"], clips, 1) == {"c5"}
        and len(breakdown.shown_clips(frame, [], clips, 4)) == 4
    )
    assert (
        breakdown.differences(per_clip(), "onsets").empty
        and breakdown.extremes(breakdown.differences(per_clip(), "onsets"), ["x"])["rows"] == []
    )


def test_names_from_tables_can_not_become_markup():
    frame = breakdown.differences(per_clip().assign(clip_id="<b>"), "beats")
    assert "&lt;b&gt;" in breakdown.extremes(frame, ["high-full"])["rows"][0]["cells"][2]


def test_crop_picture_darkens_what_was_cut(tmp_path):
    grey = lambda j: np.full((120, 200, 3), 200, np.uint8)
    video = timed_video(tmp_path / "x.mp4", [0, 33, 67], picture=grey)
    data = base64.b64decode(crop_picture(video, 0.03, (60, 0, 80, 120)))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (120, 200, 3)
    assert image[60, 100].mean() > 180 and image[60, 20].mean() < 90 and image[60, 180].mean() < 90
    blue, green, red = image[60, 60].astype(int)
    assert green > blue + 50 and green > red + 50


def test_card_of_a_clip_holds_its_audio_scores_and_timeline(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"video")
    clip = SimpleNamespace(clip_id="a", genre="pop", song="s")
    rows = [("a", "model", 0.8, 0.25), ("b", "model", 0.1, 0.9)]
    scores = pd.DataFrame(rows, columns=["clip_id", "system", "own", "other"])
    audio = np.zeros(22050 * 3 // 2, np.float32)
    media = {"video": tmp_path / "a.mp4", "controls": {"shuffled": audio}}
    card = clip_card(
        clip,
        audio,
        {"worse": audio, "model": audio},
        {"cmt": audio},
        None,
        scores,
        media,
        ["model", "shuffled", "cmt", "worse"],
    )
    assert card["id"] == "a" and card["seconds"] == "1.5" and base64.b64decode(card["video"]) == b"video"
    tracks = [(track["name"], track["kind"]) for track in card["tracks"]]
    assert tracks == [
        ("model", "model"),
        ("cmt", "baseline"),
        ("worse", "model"),
        ("own music", "own"),
        ("shuffled", "control"),
    ]
    assert card["text"] == "model: F 0.80 own, 0.25 other dances" and "<svg" in card["timeline"]
    plain = clip_card(clip, audio, {"worse": audio, "model": audio}, {"cmt": audio}, None, scores, None)
    assert plain["tracks"] == [] and plain["timeline"] == card["timeline"]


def test_only_what_params_name_is_shown(tmp_path):
    """Of earlier runs there may be more: variants that were taken out, systems without a folder."""
    layout, runs = Layout(root=tmp_path, corpus="demo"), tmp_path / "runs/demo"
    layout.params.write_text(
        "levels: [low]\nvariants: [full, no_fm]\nmodels: [full, no_fm]\nsystems: [cmt]\nevaluate: {others: {CDCD: external/cdcd}}\n"
    )
    for name in (
        "vqvae",
        "synthesizer/low",
        "synthesizer/high",
        "d2m_gan/low-full",
        "d2m_gan/low-gone",
        "baselines/cmt",
        "baselines/gone",
    ):
        (runs / name).mkdir(parents=True)
        (runs / name / "curves.csv").write_text("step,loss\n1,2\n")
    assert list(curve_files(layout)) == ["vqvae", "synthesizer/low", "d2m_gan/low-full", "baselines/cmt"]
    folders = {
        "low-full": runs / "generate/low-full",
        "cmt": runs / "baselines/cmt",
        "CDCD": tmp_path / "external/cdcd",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    scored = ("low-full", "low-no_fm", "cmt", "CDCD", "silence")
    assert folders_of(layout, {name: {} for name in scored}) == folders


def test_params_have_bounds():
    with pytest.raises(ValueError, match="max_megabytes must be at least 1"):
        Params(max_megabytes=0.5)


def test_page_is_self_contained(pipeline):
    page = (pipeline / "runs/demo/report/index.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#)', page), "everything is embedded"
    assert page.count('class="clip"') >= 2 and "High w/o motion" in page and "playhead" in page
    assert (
        "shuffled ground truth" in page and "fitted song" in page and "kept 204 × 360" in page and "Per genre" in page
    )


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_browser_shows_the_page(pipeline, tmp_path, width):
    """Fits the width, takes nothing from outside, and works by keyboard: walk, choose a system, play, sort."""
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        wrong = []
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or wrong.append(r.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto((pipeline / "runs/demo/report/index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        wide = page.locator("#tables .scroll").last
        hidden = wide.evaluate("box => box.scrollWidth > box.clientWidth + 1")
        assert hidden == wide.evaluate("box => box.previousElementSibling.classList.contains('more')") and (
            hidden or width > 600
        )
        wide.evaluate("box => { box.scrollLeft = 100 }")
        assert wide.locator("td").first.bounding_box()["x"] >= 0, "the first column stays"
        page.screenshot(path=tmp_path / "page.png")
        assert cv2.imread(str(tmp_path / "page.png")).std() > 10
        page.keyboard.press("j")
        first = page.evaluate("document.activeElement.id")
        page.keyboard.press("j")
        assert page.evaluate("document.activeElement.id") != first
        page.keyboard.press("k")
        assert page.evaluate("document.activeElement.id") == first
        page.keyboard.press("2")
        page.keyboard.press("Space")
        card = page.locator(f"[id='{first}']")
        assert (
            card.locator("[aria-pressed=true]").text_content() == card.locator(".tracks button").nth(1).text_content()
        )
        page.wait_for_function("id => document.getElementById(id).querySelector('video').currentTime > 0.1", arg=first)
        line = card.locator("svg.beats")
        tall = line.evaluate("svg => svg.viewBox.baseVal.height")
        page.get_by_label("dance2music").focus()
        page.keyboard.press("Space")
        row = line.locator("[data-row=dance2music]")
        assert row.get_attribute("display") == "none"
        assert line.evaluate("svg => svg.viewBox.baseVal.height") == tall - 26
        page.keyboard.press("Space")
        assert row.get_attribute("display") is None and line.evaluate("svg => svg.viewBox.baseVal.height") == tall
        table = page.locator("#tables table").first
        head = table.locator("th").nth(2)
        for order, factor in (("ascending", 1), ("descending", -1)):
            head.locator("button").press("Enter")
            assert head.get_attribute("aria-sort") == order
            cells = [
                float(text.split()[0])
                for text in table.locator("tbody td:nth-child(3)").all_text_contents()
                if text[0].isdigit()
            ]
            assert cells == sorted(cells, key=lambda v: factor * v) and len(cells) > 2
        assert wrong == []
        browser.close()
