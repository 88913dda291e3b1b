"""The studio's page: what stays in sight, names of takes, undo in another browser, fingers, the ruler, the sound after a jump."""

import re

import av
import pytest

from tests.helpers.studio_page import BROWSER, LANDSCAPE, PHONE, PORTRAIT, changed_answer, status, swipe
from tests.helpers.within import until

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def box(page, selector):
    return page.evaluate(f"(({{top, bottom, left, right}}) => [top, bottom, left, right])(document.querySelector('{selector}').getBoundingClientRect())")  # fmt: skip


# What stays in sight


@pytest.mark.parametrize("viewport", [PORTRAIT, LANDSCAPE, {"width": 1280, "height": 800}], ids=lambda v: str(v["width"]))  # fmt: skip
def test_picture_and_time_line_stay_in_sight_at_the_takes(opened, viewport):
    page = opened(viewport=viewport, **(PHONE if viewport["width"] < 1000 else {})).page
    assert box(page, "#video")[1] <= viewport["height"] and page.locator("#dock.bar").count() == 0
    page.evaluate("document.querySelector('#takes').scrollIntoView({block: 'start'})")
    page.locator("#dock.bar").wait_for()
    for part in ("#video", "#play", "#wave", "#hear-b"):
        top, bottom, left, right = box(page, part)
        assert 0 <= top < bottom < 0.75 * viewport["height"], part
        assert 0 <= left < right <= viewport["width"], part
    bar = box(page, "#dock-body")[1]
    assert bar < 0.45 * viewport["height"], "there is room for what one came for"
    assert box(page, "#takes")[0] >= bar or box(page, "#takes")[1] <= viewport["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.locator("#play").click()
    page.locator('#play[aria-pressed="true"]').wait_for()
    page.locator("#play").click()
    page.evaluate("scrollTo(0, 0)")
    page.locator("#dock:not(.bar)").wait_for()


def test_what_the_keyboard_reaches_is_not_below_the_bar(opened):
    page = opened(viewport=PORTRAIT, **PHONE).page
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.locator("#dock.bar").wait_for()
    page.locator("#region-from").focus()
    page.wait_for_timeout(300)
    top, bottom, _, _ = box(page, "#region-from")
    assert bottom <= PORTRAIT["height"] and (
        page.locator("#dock.bar").count() == 0 or top >= box(page, "#dock-body")[1]
    )


# Names of takes


def test_a_take_is_named_and_every_page_shows_it(opened):
    mine = opened()
    field = mine.page.locator('[data-take="1"] .name')
    assert field.input_value() == ""
    field.fill("slow one")
    field.press("Enter")
    mine.page.locator("#pick-a option", has_text="1: slow one").first.wait_for(state="attached")
    assert "take-1" not in mine.page.locator('[data-take="1"] a').get_attribute("download")
    other = opened().page
    assert other.locator('[data-take="1"] .name').input_value() == "slow one"
    assert "slow one" in other.locator("#export-take option").first.text_content()
    with other.expect_download() as waiting:
        other.locator("#export-wav").click()
    exported = waiting.value.suggested_filename
    assert exported.endswith(" - take 1 - slow one.wav")
    with mine.page.expect_download() as waiting:  # it was heard before it had this name
        mine.page.locator('[data-take="1"] a').click()
    assert waiting.value.suggested_filename == exported
    field.fill("lost")
    field.press("Escape")
    assert field.input_value() == "slow one"
    field.fill("")
    field.press("Enter")
    until(20, lambda: mine.studio.job(mine.job)["takes"][0]["name"] == "")


# Undo


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
    assert re.fullmatch(r"Nudged (down-)?beat 1 of \d+, \d\.\d{3} s\.", status(page))
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


# Fingers


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
    page.locator("#region-clear").evaluate("button => button.click()")
    assert mine.beats() == before
    swipe(mine, beat["x"] + 1, y, 15, 3)  # a beat that was not tapped stays, and a region is drawn
    mine.until("document.getElementById('region-from').value !== ''", 10)
    assert mine.beats() == before and page.locator('[data-selected="true"]').count() == 0
    page.locator("#region-clear").evaluate("button => button.click()")
    page.wait_for_timeout(100)
    page.touchscreen.tap(beat["x"] + 1, y)
    page.locator('[data-beat="2"][data-selected="true"]').wait_for()
    swipe(mine, beat["x"] + 1, y, 15, 3)
    moved = mine.saved(lambda found: found != before)
    assert [k for k, (a, b) in enumerate(zip(before, moved, strict=True)) if a != b] == [2]
    page.locator("#undo").evaluate("button => button.click()")
    mine.saved(lambda found: found == before)


# The time line


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


# Sound and picture

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


# What a person expects of it


def test_a_click_on_the_picture_plays_and_pauses(opened):
    mine = opened()
    for playing in ("true", "false"):
        mine.page.locator("#picture").click()
        mine.until(f"document.getElementById('play').getAttribute('aria-pressed') === '{playing}'")


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


def test_a_region_is_of_the_newest_take_of_the_model_though_own_music_is_heard(opened, job):
    mine = opened()
    page = mine.page

    def more(told):
        first = told["takes"][0]
        told["takes"] += [
            first | {"number": 2, "seed": 1},
            first | {"number": 3, "made": "own music", "style_name": "song"},
        ]

    changed_answer(page, job, more)
    mine.until("document.getElementById('region-take').options.length === 2")
    assert page.locator("#pick-a").input_value() == "3" and page.locator("#region-take").input_value() == "2"
    page.select_option("#region-take", "1")
    page.wait_for_timeout(2500)  # the next answer keeps what was chosen
    assert page.locator("#region-take").input_value() == "1"


def test_before_there_is_a_video_nothing_plays_and_the_queue_is_told_once(opened, job):
    page = opened().page

    def waiting(told):
        told.update(video=None, pose=None, beats=None, dancers=[], takes=[], busy=True)
        for step in told["steps"].values():
            step.update(state="waiting", found="")

    def queued(route):
        given = route.fetch()
        told = given.json()
        other = {"job": "0" * 16, "name": "other", "what": "pose"}
        route.fulfill(
            response=given, json=told | {"queue": [other] * 4 + [{"job": job, "name": "mine", "what": "read"}]}
        )

    page.route("**/api/state", queued)
    changed_answer(page, job, waiting)
    page.get_by_text("waits for other work, 4 before it").wait_for()
    assert page.locator("#steps").inner_text().count("before it") == 1
    assert page.locator("#steps").inner_text().count("waits") == 4
    for control in ("play", "frame-back", "frame-on", "seek"):
        assert page.locator(f"#{control}").is_disabled()


def test_a_pose_of_the_demos_weights_is_doubted_but_not_that_of_its_own_clips(opened, studio, job, tmp_path):
    assert not studio.job(job)["steps"]["pose"]["doubt"]
    clip = studio.root / "data/demo/clips" / studio.job(job)["name"]
    video = tmp_path / "mine.mp4"
    with av.open(str(clip)) as source, av.open(str(video), "w") as made:
        streams = {s.index: made.add_stream_from_template(s) for s in source.streams.video}
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
    made = studio.ask("POST", "/api/jobs?name=mine.mp4", data=video.read_bytes())["id"]
    told = studio.finished(made)["steps"]["pose"]
    assert told["doubt"] and "the demo's weights were used" in told["found"]
    assert "trained on rendered dancers" in told["advice"] and "pose_k16.pkl" in told["advice"]
    assert "the folder weights in the working folder" in told["advice"] and "docs/weights.md" in told["advice"]
    for one in (made, job):  # for its own videos the step says it, and once
        assert not any("published weights" in note for note in studio.job(one)["notes"])
    page = opened().page
    page.goto(f"{studio.base}/#{made}")
    page.locator('[data-step="pose"][data-doubt="true"]').get_by_text("look at this:").wait_for()
    studio.ask("DELETE", f"/api/jobs/{made}")


def test_on_a_phone_a_doubt_leaves_the_picture_in_sight_and_a_closed_list_stays_closed(opened, job):
    page = opened(viewport=PORTRAIT, **PHONE).page
    doubt = {
        "doubt": True,
        "found": "1 dancer, seen in 93 % of the frames; the demo's weights were used",
        "advice": "Compare them. " * 20,
    }

    def doubted(told):
        told["steps"]["pose"].update(doubt)
        told["notes"] = ["warning: left out: x.mp3: not readable " * 5] * 3

    changed_answer(page, job, doubted)
    page.get_by_text("look at this").wait_for()
    assert page.locator('[data-step="pose"] .advice p').is_hidden() and page.locator("#notes").is_hidden()
    assert box(page, "#video")[1] <= PORTRAIT["height"]
    page.locator('[data-step="pose"]').get_by_text("What to do").click()
    page.get_by_text("Compare them.").wait_for()
    page.locator("#steps-panel > summary").click()
    page.wait_for_timeout(200)
    page.reload()
    page.locator('[data-step="pose"][data-doubt="true"]').wait_for(state="attached")
    assert page.locator("#steps").is_hidden()


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


def test_on_a_phone_a_doubt_about_the_dancer_is_above_the_picture(opened, job):
    mine = opened(viewport=PORTRAIT, **PHONE)
    page = mine.page
    assert box(page, "#steps-panel")[0] > box(page, "#picture")[1]
    changed_answer(page, job, lambda told: told["steps"]["pose"].update(doubt=True))
    page.get_by_text("look at this").wait_for()
    assert box(page, "#steps-panel")[1] < box(page, "#picture")[0]


def test_a_style_that_strictness_leaves_out_is_told_with_what_to_do(opened):
    page = opened().page
    page.select_option("#style", "house")
    page.locator("#strictness").fill("0")
    page.locator("#make").click()
    assert status(page).startswith("Strictness 0 leaves out the style: choose")
    assert page.locator("[data-take]").count() == 1


def test_another_dance_is_exported_with_settings_of_its_own(opened, studio):
    mine = opened()
    page = mine.page
    other = studio.ask("POST", "/api/jobs/from-clip", {"clip": studio.ask("GET", "/api/state")["clips"][1]["id"]})["id"]
    studio.finished(other)
    studio.ask("POST", f"/api/jobs/{other}/takes", {"seed": 1})
    assert len(studio.finished(other)["takes"]) == 2
    page.locator("#mix").fill("0.3")
    page.goto(f"{studio.base}/#{other}")
    mine.wait_for_take(2)
    mine.until("document.getElementById('export-take').value === '2'")
    assert page.locator("#mix").input_value() == "0"
    page.select_option("#export-take", "1")
    page.locator("#mix").fill("0.3")
    studio.ask("PUT", f"/api/jobs/{other}/takes/2/name", {"name": "mine"})  # the page draws the same dance anew
    page.locator("#export-take option", has_text="mine").wait_for(state="attached")
    assert page.locator("#mix").input_value() == "0.3" and page.locator("#export-take").input_value() == "1"
    studio.ask("DELETE", f"/api/jobs/{other}")
