"""The whole of the studio in a browser: a video dropped, beats corrected, takes made, a part made anew, compared, exported, the
server killed in the middle, the project opened again. Nothing is asked of another machine."""

import json

import numpy as np
import pytest
import soundfile

from d2m_model.metrics.p4_onsets import onset_times
from tests.helpers.studio_page import BROWSER, Page
from tests.helpers.studio_server import Studio, studio_root

RATE = 22050
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def root(pipeline, tmp_path_factory):
    return studio_root(pipeline, tmp_path_factory.mktemp("studio"))


@pytest.fixture
def play():
    with pytest.importorskip("playwright.sync_api").sync_playwright() as found:
        yield found


def followed(sound: np.ndarray, times: list[float]) -> float:
    """Share of beats with an onset within 70 ms."""
    onsets = onset_times(sound.astype(np.float32) / 32768)
    return float(np.mean([np.abs(onsets - t).min(initial=9) < 0.07 for t in times]))


def known_beats(studio, job) -> list[float]:
    """Give the job a beat each half second."""
    beats = [round(float(t), 3) for t in np.arange(0.3, studio.job(job)["video"]["seconds"] - 0.1, 0.5)]
    studio.ask("PUT", f"/api/jobs/{job}/beats", {"beats": beats, "downbeats": beats[::4]})
    return beats


def test_from_the_dropped_video_to_the_opened_project(root, play, tmp_path):
    studio = Studio(root)
    try:
        mine = Page(play, studio)
        page = mine.page
        clip = next(iter(sorted((root / "data/demo/clips").glob("*.mp4"))))
        page.locator("#file").set_input_files(str(clip))
        for step in ("read", "pose", "rhythm", "music"):
            page.locator(f'[data-step="{step}"][data-state="done"]').wait_for(timeout=180_000)
        mine.wait_for_take(1)
        assert page.evaluate("document.getElementById('video').videoWidth") > 0

        beats = known_beats(studio, mine.job)
        page.reload()
        page.locator(f'[data-beat="{len(beats) - 1}"]').wait_for()
        for index, later in ((2, 0.15), (4, -0.12)):  # two beats are corrected
            mine.drag_beat(index, later)
        corrected = mine.saved(
            lambda found: (
                len(found) == len(beats)
                and abs(found[2] - beats[2] - 0.15) < 0.03
                and abs(found[4] - beats[4] + 0.12) < 0.03
            )
        )
        page.locator("#undo").click()
        mine.saved(lambda found: found[4] == beats[4])
        page.locator("#undo").click()
        mine.saved(lambda found: found == beats)
        for _ in range(2):
            page.locator("#redo").click()
        assert mine.saved(lambda found: found[4] != beats[4]) == corrected

        page.locator("#style").select_option("house")
        page.locator("#make").click()
        mine.wait_for_take(2)
        sound = mine.sound(2)
        assert followed(sound, corrected) >= 0.75

        page.locator("#region-from").fill("1")
        page.locator("#region-to").fill("2")
        page.locator("#region-to").press("Tab")
        page.locator("#region-take").select_option("2")
        page.locator("#seed").fill("9")
        page.locator("#redo-region").click()
        mine.wait_for_take(3)
        redone, outside = mine.sound(3), np.ones(len(sound), bool)
        outside[RATE : 2 * RATE] = False
        assert np.array_equal(redone[outside], sound[outside]) and not np.array_equal(redone, sound)

        page.locator('[data-take="2"] [data-set="a"]').click()  # A and B at the same place
        page.locator('[data-take="3"] [data-set="b"]').click()
        page.locator("#hear-a").click()
        page.locator("#play").click()
        mine.until("document.getElementById('video').currentTime > 0.3")
        before = page.evaluate("document.getElementById('video').currentTime")
        page.locator("#hear-b").click()
        assert page.locator("#hear-b").get_attribute("aria-pressed") == "true"
        mine.until(f"document.getElementById('video').currentTime > {before}")
        page.locator("#play").click()

        files = {}
        page.locator("#export-take").select_option("3")
        for kind in ("video", "wav", "beats", "midi", "click", "project"):
            with page.expect_download(timeout=60_000) as waiting:
                page.locator(f"#export-{kind}").click()
            files[kind] = tmp_path / waiting.value.suggested_filename
            waiting.value.save_as(files[kind])
        exported = soundfile.read(files["wav"], dtype="int16")[0]
        assert np.array_equal(exported, redone) and json.loads(files["beats"].read_text())["beats"] == corrected

        page.locator("#seed").fill("11")  # the server is killed while it makes a take; the page goes on by itself
        page.locator("#make").click()
        page.locator('[data-take="4"]').wait_for()
        studio.kill()
        page.locator("#reconnecting:not([hidden])").wait_for()
        page.locator("#beat-after").click()
        page.locator("#beat-delete").click()  # a correction meanwhile is not lost
        studio = mine.studio = Studio(root, port=studio.port)
        mine.wait_for_take(4)
        page.locator("#reconnecting").wait_for(state="hidden")
        mine.saved(lambda found: len(found) == len(beats) - 1)
        job = mine.job
        page.reload()
        mine.wait_for_take(4)
        assert mine.job == job

        page.locator("#home").click()
        page.locator("#file").set_input_files(str(files["project"]))
        mine.until(f"location.hash.length > 10 && location.hash.slice(1) != '{job}'")
        mine.wait_for_take(3)
        assert np.array_equal(mine.sound(3), redone) and mine.beats() == corrected
        assert mine.outside == [] and mine.errors == []
        mine.browser.close()
    finally:
        studio.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_reached_on_a_phone_and_by_keyboard(root, play, scheme):
    studio = Studio(root)
    try:
        clip = studio.ask("GET", "/api/state")["clips"][0]["id"]
        job = studio.ask("POST", "/api/jobs/from-clip", {"clip": clip})["id"]
        studio.finished(job)
        beats = known_beats(studio, job)
        mine = Page(
            play,
            studio,
            viewport={"width": 390, "height": 844},
            color_scheme=scheme,
            reduced_motion="reduce",
            has_touch=True,
        )
        page = mine.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator("#jobs").get_by_text(clip).first.click()
        page.locator(f'[data-beat="{len(beats) - 1}"]').wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        small = page.evaluate(
            "[...document.querySelectorAll('button, select, a.button, label.button')].filter(e => e.offsetParent && Math.max(e.offsetHeight, e.offsetWidth) < 44).map(e => e.outerHTML.slice(0, 80))"
        )
        assert small == []
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, select, input, video')].filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.title)).map(e => e.outerHTML.slice(0, 80))"
        )
        assert unnamed == []
        page.locator("#title").click()
        page.keyboard.press("?")
        page.locator("#help-sheet[open]").wait_for()
        page.keyboard.press("Escape")
        assert page.locator("#help-sheet[open]").count() == 0
        assert mine.outside == [] and mine.errors == []
        mine.browser.close()
    finally:
        studio.stop()
