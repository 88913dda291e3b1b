"""The studio's page: fingers and the mouse on the time line, the ruler, the waveform, the sound after a jump."""

import pytest

from tests.helpers.studio_page import BROWSER, PHONE, PORTRAIT, clear_region, swipe

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def to_top(mine) -> None:
    """Scroll to the top and stay there: what a finger scrolled may still arrive."""
    mine.until("new Promise(done => { scrollTo(0, 0); setTimeout(() => done(scrollY === 0), 300); })", 20)


def test_a_finger_scrolls_up_and_down_and_draws_along(opened):
    mine = opened(viewport=PORTRAIT, **PHONE)
    page, before = mine.page, mine.beats()
    wave, beat = page.locator("#wave").bounding_box(), page.locator('[data-beat="2"]').bounding_box()
    gap, y = beat["x"] + 0.25 * wave["width"] / mine.studio.job(mine.job)["video"]["seconds"], wave["y"] + 40
    for x in (beat["x"] + 1, gap):
        to_top(mine)
        swipe(mine, x, y, 5, -250)
        mine.until("scrollY > 100", 10)
        assert page.locator("#region-from").input_value() == "", x
    to_top(mine)
    swipe(mine, gap, y, 80, 6)
    mine.until("document.getElementById('region-from').value !== ''", 10)
    clear_region(page)
    assert mine.beats() == before
    swipe(mine, beat["x"] + 1, y, 15, 3)  # a beat that was not tapped stays, and a region is drawn
    mine.until("document.getElementById('region-from').value !== ''", 10)
    assert mine.beats() == before and page.locator('[data-selected="true"]').count() == 0
    clear_region(page)
    page.wait_for_timeout(100)
    page.touchscreen.tap(beat["x"] + 1, y)
    page.locator('[data-beat="2"][data-selected="true"]').wait_for()
    swipe(mine, beat["x"] + 1, y, 15, 3)
    moved = mine.saved(lambda found: found != before)
    assert [k for k, (a, b) in enumerate(zip(before, moved, strict=True)) if a != b] == [2]
    page.locator("#undo").evaluate("button => button.click()")
    mine.saved(lambda found: found == before)


NOTCHES = """() => {
  const root = [...document.querySelectorAll('#wave > div')].map(e => e.shadowRoot).find(Boolean), range = document.createRange();
  const place = ({left, right, top, bottom}) => [left, right, top, bottom];
  const notches = [...root.querySelectorAll('[part*=timeline-notch]')];
  const numbers = notches.filter(e => e.firstChild).map(e => { range.selectNodeContents(e); return place(range.getBoundingClientRect()); });
  const ticks = notches.filter(e => !e.firstChild).map(e => place(e.getBoundingClientRect()));
  const beats = [...root.querySelectorAll('[part=beat-line]')].map(e => place(e.getBoundingClientRect()));
  return {numbers, ticks, beats};
}"""


@pytest.mark.parametrize("zoomed", [0, 3])
def test_no_line_crosses_a_number_of_the_ruler(opened, zoomed):
    page = opened().page
    for _ in range(zoomed):
        page.locator("#zoom-in").click()
    page.wait_for_timeout(300)
    found = page.evaluate(NOTCHES)
    assert len(found["numbers"]) > 3 and len(found["ticks"]) > 10 and found["beats"]
    for left, right, top, bottom in found["numbers"]:
        for kind in ("ticks", "beats"):
            crossing = [o for o in found[kind] if o[0] < right and o[1] > left and o[2] < bottom - 2 and o[3] > top + 2]
            assert crossing == [], (kind, left, top)


RECORD = """() => {
  window.heard = [];
  const video = document.getElementById('video'), start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (when, place) { window.heard.push(['sound', place]); return start.call(this, when, place); };
  video.addEventListener('seeked', () => window.heard.push(['picture', video.currentTime]));
}"""


def test_after_a_jump_the_sound_waits_for_the_picture_and_begins_at_its_place(opened):
    mine = opened()
    page = mine.page
    page.evaluate(RECORD)
    page.locator("#play").click()
    mine.until("window.heard.some(([what]) => what === 'sound')")
    for place in (2.0, 0.5):
        page.evaluate("window.heard = []")
        page.evaluate(
            f"(s => {{ s.value = {place}; s.dispatchEvent(new Event('input')); }})(document.getElementById('seek'))"
        )
        mine.until("window.heard.some(([what]) => what === 'sound')")
        (first, picture), (second, sound) = page.evaluate("window.heard.slice(0, 2)")
        assert (first, second) == ("picture", "sound")
        assert picture <= sound and sound >= place, "it does not begin before what is seen"
    page.locator("#play").click()


def test_a_click_on_the_picture_plays_and_pauses(opened):
    mine = opened()
    for playing in ("true", "false"):
        mine.page.locator("#picture").click()
        mine.until(f"document.getElementById('play').getAttribute('aria-pressed') === '{playing}'")


def click_beat(page, index):
    at, wave = page.locator(f'[data-beat="{index}"]').bounding_box(), page.locator("#wave").bounding_box()
    page.mouse.click(at["x"] + 1, wave["y"] + 60)
    page.locator(f'[data-beat="{index}"][data-selected="true"]').wait_for()


PLACE = "document.getElementById('seek').valueAsNumber"


def test_a_click_on_a_beat_goes_there_while_it_plays_and_a_loop_goes_on(opened):
    mine = opened()
    page, beats = mine.page, mine.beats()
    page.locator("#play").click()
    mine.until(f"{PLACE} > 0.1")
    click_beat(page, 6)
    assert beats[6] - 0.05 <= page.evaluate(PLACE) < beats[6] + 1
    for field, value in (("from", 0), ("to", 1)):
        page.locator(f"#region-{field}").fill(str(value))
        page.locator(f"#region-{field}").press("Tab")
    page.locator("#loop").click()
    mine.until(f"{PLACE} < 1.1")
    page.evaluate(
        "window.jumps = []; document.getElementById('video').addEventListener('seeking', event => window.jumps.push(event.target.currentTime))"
    )
    click_beat(page, 5)
    page.wait_for_timeout(300)
    assert page.evaluate(PLACE) < 1.1 and page.evaluate("window.jumps.every(time => time < 0.3)")
    page.locator("#play").click()


def test_a_dragged_beat_is_shown_as_selected_before_it_is_dropped(opened):
    mine = opened()
    page, before = mine.page, mine.beats()
    at, wave = page.locator('[data-beat="3"]').bounding_box(), page.locator("#wave").bounding_box()
    page.mouse.move(at["x"] + 1, wave["y"] + 60)
    page.mouse.down()
    page.mouse.move(at["x"] + 12, wave["y"] + 60, steps=4)
    page.locator('[data-beat="3"][data-selected="true"]').wait_for(timeout=3000)
    assert page.locator('[data-selected="true"]').count() == 1
    page.mouse.up()
    mine.saved(lambda beats: beats[3] > before[3])
    page.locator("#undo").click()
    mine.saved(lambda beats: beats == before)


HOLES = """() => {
  const root = [...document.querySelectorAll('#wave > div')].map(e => e.shadowRoot).find(Boolean);
  return [...root.querySelectorAll('.canvases canvas')].map(line => {
    const { width: wide, height: tall } = line;
    const values = line.getContext('2d').getImageData(0, Math.round(tall / 8), wide, 1).data;
    return [wide, values.filter((value, at) => at % 4 === 3 && value < 200).length];
  });
}"""


@pytest.mark.parametrize("zoomed", [0, 3])
def test_the_waveform_has_no_notch_where_its_pieces_meet(opened, job, zoomed):
    mine = opened()
    page = mine.page
    page.route(f"**/api/jobs/{job}/peaks/*", lambda route: route.fulfill(json={"peaks": [1.0] * 100 * 60}))
    page.reload()
    mine.wait_for_take(1)
    page.locator('[data-beat="0"]').wait_for()
    for _ in range(zoomed):
        page.locator("#zoom-in").click()
    page.wait_for_timeout(500)
    found = page.evaluate(HOLES)
    assert (len(found) > 1) == bool(zoomed) and all(wide > 0 and holes == 0 for wide, holes in found), found


def test_with_the_mouse_a_region_begins_on_a_beat_in_the_ruler(opened):
    mine = opened()
    before = mine.beats()
    wave, beat = mine.page.locator("#wave").bounding_box(), mine.page.locator('[data-beat="2"]').bounding_box()
    x, y = beat["x"] + 1, wave["y"] + wave["height"] - 10
    mine.page.mouse.move(x, y)
    mine.page.mouse.down()
    mine.page.mouse.move(x + 40, y, steps=5)
    mine.page.mouse.move(x + 120, y, steps=5)
    mine.page.mouse.up()
    mine.until("document.getElementById('region-from').value !== ''", 10)
    assert abs(float(mine.page.locator("#region-from").input_value()) - before[2]) < 0.05
    assert mine.beats() == before
    mine.page.locator("#region-clear").click()
