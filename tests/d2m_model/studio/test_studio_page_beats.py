"""The studio's page: beats that are tapped, doubled and undone, in one window and in two."""

import re

import pytest

from tests.helpers.studio_page import BROWSER, status
from tests.helpers.within import until

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def test_undo_goes_on_after_a_reload_and_in_another_browser(opened):
    mine = opened()
    before = mine.beats()
    for step in ("#beat-after", "#beat-delete", "#beats-double"):
        mine.page.locator(step).click()
    mine.saved(lambda found: len(found) == 2 * (len(before) - 1) - 1)
    mine.page.reload()
    mine.page.locator("#undo:not([disabled])").wait_for()
    mine.page.locator("#undo").click()
    mine.saved(lambda found: len(found) == len(before) - 1)
    other = opened()
    other.page.locator("#undo:not([disabled])").click()
    other.saved(lambda found: found == before)
    assert other.page.locator("#redo").get_attribute("title") == "do again: deleted beat"
    mine.page.locator(f'[data-beat="{len(before) - 1}"]').wait_for()  # the first browser follows
    assert status(mine.page) == f"The beats were changed in another window. {len(before)} beats."
    mine.page.locator("#redo:not([disabled])").click()
    mine.saved(lambda found: len(found) == len(before) - 1)
    mine.page.locator("#undo").click()
    mine.saved(lambda found: found == before)


def test_edits_of_two_windows_at_once_are_both_kept(opened):
    mine, other = opened(), opened()
    before = mine.beats()
    other.page.context.set_offline(True)
    other.page.locator("#beat-after").click()
    other.page.locator("#beat-delete").click()
    mine.page.locator("#beats-shift").click()
    shifted = mine.saved(lambda found: found != before)
    other.page.context.set_offline(False)
    deleted = mine.saved(lambda found: found != shifted)
    assert deleted == before[1:], "the later one wins"
    for wanted in (shifted, before):
        other.page.locator("#undo:not([disabled])").click()
        other.saved(lambda found, wanted=wanted: found == wanted)


def test_undo_brings_back_the_dancer_and_exactly_the_beats(opened, studio):
    for clip in studio.ask("GET", "/api/state")["clips"]:
        made = studio.ask("POST", "/api/jobs/from-clip", {"clip": clip["id"]})["id"]
        if sum(dancer["seen"] > 0 for dancer in studio.finished(made)["dancers"]) > 1:
            break
    else:
        pytest.fail("no clip has two dancers")
    beats = studio.root / "runs/demo/studio" / made / "beats.json"
    before, page = beats.read_bytes(), opened().page
    settled = lambda dancer: until(60, lambda: (told := studio.job(made))["dancer"] == dancer and not told["busy"])
    page.goto(f"{studio.base}/#{made}")
    for step in ("#beat-after", "#beat-later"):
        page.locator(f"{step}:not([disabled])").click()
    until(20, lambda: beats.read_bytes() != before)
    assert re.fullmatch(r"Nudged (down-)?beat [12] of \d+, \d\.\d{3} s\.", status(page))
    edited = beats.read_bytes()
    page.wait_for_timeout(2500)  # until the page knows that the beats are edited
    page.select_option("#dancer", "1")
    page.locator("#ask-yes").click()
    settled(1)
    assert beats.read_bytes() != edited
    page.locator('#undo[title="undo: dancer 2 followed"]').click()
    settled(0)
    assert beats.read_bytes() == edited
    page.locator('#undo[title="undo: nudged beat"]:not([disabled])').click()
    until(20, lambda: beats.read_bytes() == before)
    assert not studio.job(made)["takes"][0]["old"]
    studio.ask("DELETE", f"/api/jobs/{made}")


def test_taps_after_the_end_do_not_go_on_over_the_first_beats(opened):
    mine = opened()
    page, before = mine.page, mine.beats()
    page.evaluate(
        "(s => { s.value = s.max - 1; s.dispatchEvent(new Event('input')); })(document.getElementById('seek'))"
    )
    page.locator("#play").click()
    mine.until("document.getElementById('play').getAttribute('aria-pressed') === 'true'")
    for _ in range(15):  # 6 s of tapping at the end of the dance
        page.keyboard.press("t")
        page.wait_for_timeout(400)
    assert status(page) == "The dance has ended. After a pause, a tap plays it again."
    assert page.locator("#play").inner_text() == "Play"
    assert mine.saved(lambda beats: beats != before)[0] == before[0]
    page.wait_for_timeout(2100)
    page.keyboard.press("t")
    mine.until("document.getElementById('play').innerText === 'Pause'")
    page.locator("#play").click()
    page.locator("#undo").click()
    mine.saved(lambda beats: beats == before)


def test_doubling_after_halving_brings_back_what_was_there(opened, studio, job):
    all_beats = studio.job(job)["beats"]
    before = all_beats["beats"][
        : 2 * (len(all_beats["beats"]) // 2)
    ]  # of an even number, the middles would be one beat less
    studio.ask("PUT", f"/api/jobs/{job}/beats", {"beats": before, "downbeats": before[::4]})
    mine = opened()
    page = mine.page

    def press(button, words):
        page.locator(f"#{button}").click()
        mine.until(f"document.getElementById('status').textContent.startsWith('{words}')")

    press("beats-halve", "Halved.")
    half = mine.saved(lambda beats: len(beats) == len(before) // 2)
    press("beats-double", "Doubled.")
    mine.saved(lambda beats: beats == before)
    page.reload()
    page.locator("#undo:not([disabled])").wait_for()
    press("undo", "Undone: doubled.")
    mine.saved(lambda beats: beats == half)
    page.locator("#beat-after").click()
    press("beat-delete", "Deleted beat.")
    press("beats-double", "Doubled.")  # something was changed: now it is the middles
    mine.saved(lambda beats: len(beats) == 2 * (len(half) - 1) - 1)
    for label in ("doubled", "deleted beat", "halved"):
        press("undo", f"Undone: {label}.")
    mine.saved(lambda beats: beats == before)
    press("beats-double", "Doubled.")
    mine.saved(lambda beats: len(beats) == 2 * len(before) - 1)
    press("beats-halve", "Halved.")
    mine.saved(lambda beats: beats == before)
    studio.ask("PUT", f"/api/jobs/{job}/beats", {name: all_beats[name] for name in ("beats", "downbeats")})
