"""The studio's page: what stays in sight, names of takes, doubts, what is exported."""

import av
import pytest

from tests.helpers.studio_page import BROWSER, LANDSCAPE, PHONE, PORTRAIT, changed_answer, status
from tests.helpers.within import until

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def box(page, selector):
    return page.evaluate(f"(({{top, bottom, left, right}}) => [top, bottom, left, right])(document.querySelector('{selector}').getBoundingClientRect())")  # fmt: skip


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
