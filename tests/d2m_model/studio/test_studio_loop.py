"""The studio's page: the picture at the end of a loop, where the sound goes on at once."""

import pytest

from tests.helpers.studio_page import BROWSER

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
SHOWN, AHEAD = "document.querySelector('#picture video.shown')", "document.querySelector('#picture video:not(.shown)')"
PLACE = "window.studioPlace(performance.now())"
RECORD = """() => {
  const videos = [...document.querySelectorAll('#picture video')], turns = window.turns = [];
  let shown = null;
  for (const video of videos) video.addEventListener('seeking', () => { if (video === shown) turns.at(-1)?.jumps.push(video.currentTime); });
  const look = () => {
    const now = videos.find(video => video.classList.contains('shown'));
    if (shown && now !== shown) turns.push({ times: [], jumps: [] });
    shown = now;
    if (!shown.seeking) turns.at(-1)?.times.push(shown.currentTime);
    requestAnimationFrame(look);
  };
  look();
}"""
"""For each change of the shown picture: its times since then, and to where it jumped."""


def loop(mine, begin: float, end: float) -> None:
    """Mark a region and loop it."""
    for field, value in (("from", begin), ("to", end)):
        mine.page.locator(f"#region-{field}").fill(str(value))
        mine.page.locator(f"#region-{field}").press("Tab")
    mine.page.locator("#loop").check()


def play(mine) -> None:
    mine.page.locator("#play").click()


def without_frame_callbacks(mine) -> None:
    """As in a browser that does not tell of frames."""
    mine.page.add_init_script("delete HTMLVideoElement.prototype.requestVideoFrameCallback")
    mine.page.reload()
    mine.wait_for_take(1)
    mine.page.locator('[data-beat="1"]').wait_for()
    assert mine.page.evaluate("!('requestVideoFrameCallback' in HTMLVideoElement.prototype)")


@pytest.mark.parametrize("callbacks", [True, False])
def test_at_the_end_of_a_loop_a_picture_that_stood_ready_is_shown_and_none_jumps(opened, callbacks):
    mine = opened()
    if not callbacks:
        without_frame_callbacks(mine)
    loop(mine, 0.5, 2)
    mine.page.evaluate(RECORD)
    play(mine)
    clean = (
        "window.turns.slice(0, -1).filter(turn => !turn.jumps.length)"  # a slow machine may need a jump now and then
    )
    mine.until(f"{clean}.length > 2")
    play(mine)
    for turn in mine.page.evaluate(clean):
        times = turn["times"]
        assert 0.45 < times[0] < 1.2, "it begins with the loop"
        assert all(a <= b for a, b in zip(times, times[1:], strict=False)) and times[-1] < 2.5, "and plays it once"


def test_the_second_picture_is_there_for_a_loop_only_and_is_nothing_for_a_screen_reader_or_the_keyboard(opened):
    mine = opened()
    page = mine.page
    there = f"{AHEAD}.getAttribute('src') === {SHOWN}.getAttribute('src')"
    assert page.evaluate(f"{AHEAD}.getAttribute('src')") is None
    loop(mine, 0.5, 1.5)
    for _ in range(2):  # the second time, the other of the two
        assert page.evaluate(there)
        assert page.evaluate(f"[{AHEAD}, {SHOWN}].map(video => video.ariaHidden === 'true')") == [True, False]
        assert page.evaluate(f"[{AHEAD}, {SHOWN}].every(video => video.muted && video.tabIndex === -1)")
        page.evaluate(f"window.before = {SHOWN}")
        play(mine)
        mine.until(f"window.before !== {SHOWN}")
        play(mine)
    page.locator("#loop").uncheck()
    assert page.evaluate(f"{AHEAD}.getAttribute('src')") is None
    mine.until(f"{AHEAD}.networkState === HTMLMediaElement.NETWORK_EMPTY")
    assert page.evaluate(f"{SHOWN}.videoWidth") > 0
    page.locator("#loop").check()
    page.locator("#home").click()
    mine.until("document.querySelectorAll('#picture video[src]').length === 0")
    page.go_back()
    mine.until(f"{there} && {AHEAD}.currentTime === 0 && {AHEAD}.readyState > 1")  # now the whole dance is looped


@pytest.mark.parametrize("wait", [0, 30, 300])
def test_a_pause_just_after_the_end_of_a_loop_shows_the_frame_of_the_play_head(opened, wait):
    mine = opened()
    page = mine.page
    loop(mine, 0.5, 1.5)
    page.evaluate(
        "wait => new MutationObserver((_, watch) => { watch.disconnect(); setTimeout(() => document.getElementById('play').click(), wait); })"
        f".observe({SHOWN}, {{ attributeFilter: ['class'] }})",
        wait,
    )
    play(mine)
    mine.until("document.getElementById('play').textContent === 'Pause'")
    mine.until("document.getElementById('play').textContent === 'Play'")
    at_head = f"Math.abs({SHOWN}.currentTime - (Math.floor({PLACE} * 30 + 1e-4) + 0.5) / 30) < 2e-3 && !{SHOWN}.seeking && {SHOWN}.paused && {AHEAD}.paused"
    mine.until(at_head)
    before = page.evaluate(f"{SHOWN}.currentTime")
    page.locator("#frame-on").click()
    mine.until(f"{at_head} && Math.abs({SHOWN}.currentTime - {before} - 1 / 30) < 2e-3")
    mine.until(f"Math.abs({AHEAD}.currentTime - 0.5) < 1e-3")  # ready for the next time


@pytest.mark.parametrize("change", ["longer", "off", "elsewhere", "short", "to the end"])
def test_a_loop_that_is_changed_while_it_plays_goes_on_as_changed(opened, change):
    mine = opened()
    page, seconds = mine.page, mine.studio.job(mine.job)["video"]["seconds"]
    loop(mine, 0.5, 1.5)
    page.evaluate(f"window.before = {SHOWN}")
    play(mine)
    mine.until(f"window.before !== {SHOWN}")
    together = f"!{SHOWN}.seeking && Math.abs({SHOWN}.currentTime - {PLACE}) < 0.1"
    if change == "off":
        page.locator("#loop").uncheck()
        mine.until(f"{PLACE} > 1.7 && {together}")
    else:
        begin, end = {"longer": (0.5, 2.5), "elsewhere": (1.9, 2.9), "short": (1, 1.1), "to the end": (seconds - 1, seconds)}[change]  # fmt: skip
        page.evaluate(f"window.begin = {begin}, window.end = {end}")
        loop(mine, begin, end)
        page.evaluate(
            "() => { window.ends = 0; let last = 0; const look = () => { const place = window.studioPlace(performance.now()); window.ends += place < last; last = place; requestAnimationFrame(look); }; look(); }"
        )
        mine.until(f"window.ends > 2 && {together}")
        assert begin - 0.1 < page.evaluate(f"{SHOWN}.currentTime") < end + 0.15
    assert page.locator("#play").inner_text() == "Pause"
    play(mine)
