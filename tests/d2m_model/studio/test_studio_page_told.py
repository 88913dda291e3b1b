"""The studio's page: regions where the pointer was, long names, takes that would come out again, and a video that can't be read."""

import pytest

from tests.helpers.studio_page import BROWSER, PHONE, PORTRAIT, changed_answer, clear_region, status
from tests.helpers.within import until

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
LONG = "a_name_without_any_space_" * 12


def test_both_ends_of_a_region_are_where_the_pointer_was(opened):
    mine = opened()
    page, seconds = mine.page, mine.studio.job(mine.job)["video"]["seconds"]
    wave = page.locator("#wave").bounding_box()
    pixel = seconds / (wave["width"] - 2)
    x = lambda time: wave["x"] + 1 + time / pixel

    def drag(y, *times):
        """Press at the first time, move over the others, let go at the last one."""
        page.mouse.move(x(times[0]), y)
        page.mouse.down()
        for time in times[1:]:
            page.mouse.move(x(time), y, steps=2)
        page.mouse.up()

    def region():
        return [float(page.locator(f"#region-{end}").input_value() or -1) for end in ("from", "to")]

    ruler, line = wave["y"] + wave["height"] - 10, wave["y"] + 50
    for y, times, wanted in (
        (ruler, (1.05, 2.55), (1.05, 2.55)),
        (line, (1.05, 2.55), (1.05, 2.55)),
        (line, (2.55, 1.05), (1.05, 2.55)),
        (ruler, (2.05, 2.55, 1.05), (1.05, 2.05)),  # turns back over its start
        (ruler, (2.05, 1.05, 2.55), (2.05, 2.55)),
    ):
        clear_region(page)
        drag(y, *times)
        assert region() == pytest.approx(wanted, abs=1.6 * pixel), times
    drag(line, 2.55 - 2 * pixel, 1.05, 2.8)  # its end, over its start and back
    assert region() == pytest.approx((2.05, 2.8 + 2 * pixel), abs=1.6 * pixel)
    drag(line, 2.45, seconds - 0.1, 1.45)  # all of it, against the end of the dance and back
    assert region() == pytest.approx((1.05, 1.8), abs=4 * pixel)
    page.locator("#region-clear").click()


def test_no_name_widens_the_page_of_a_phone(opened, job):
    page = opened(viewport=PORTRAIT, **PHONE).page

    def long_names(told):
        told["name"] = f"{LONG}.mp4"
        told["notes"] = [f"warning: left out: {LONG}.mp3"]
        take = told["takes"][0]
        quiet = {"lufs": -18.2, "told": "-18.2 LUFS instead of -16: its peaks allow no more"}
        told["takes"] += [
            take | {"number": 2, "name": LONG} | quiet,
            take | {"number": 3, "made": "own music", "style_name": LONG, "told": LONG},
            take | {"number": 4, "state": "failed", "error": LONG},
        ]
        sound = {"state": "done", "error": None, "name": LONG, "seconds": 3.0}
        told["sounds"] = [sound | {"number": 1, "kind": "song"}, sound | {"number": 2, "kind": "style"}]
        export = {"kind": "wav", "take": 1, "error": None, "asked": "1"}
        told["exports"] = [
            export | {"name": "take-1.wav", "state": "done", "file": f"{LONG}.wav"},
            export | {"name": "take-2.wav", "state": "failed", "error": LONG},
        ]
        told["steps"]["pose"] |= {"doubt": True, "found": LONG, "advice": LONG}
        told["dancers"] = [{"index": 0, "seen": 1.0}, {"index": 1, "seen": 0.5}]

    def long_list(route):
        given = route.fetch()
        told = given.json()
        told["jobs"][0]["name"] = LONG
        told["queue"] = [{"job": job, "name": LONG, "what": "music", "running": True}]
        told["clips"] = [{"id": LONG, "seconds": 3.0}]
        route.fulfill(response=given, json=told)

    page.route("**/api/state", long_list)
    changed_answer(page, job, long_names)
    page.locator('[data-take="4"]').wait_for()
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    page.select_option("#style", "sound:2")
    page.select_option("#region-take", "2")
    page.evaluate(f"import('/static/dom.js').then(({{ say }}) => say('{LONG}'))")
    page.wait_for_timeout(300)
    wide = """[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility()
        && !e.closest('#wave, .away')).map(e => e.outerHTML.slice(0, 90))"""
    assert page.evaluate("[visualViewport.width, document.documentElement.scrollWidth]") == [390, 390]
    assert page.evaluate(wide) == []
    assert page.locator('[data-take="2"]').inner_text().count("LUFS") == 1
    assert page.locator("#dancer option").first.text_content() == "1, seen in 100 %"
    page.locator("#home").evaluate("link => link.click()")
    page.locator(f'[data-clip="{LONG}"]').wait_for()
    assert page.evaluate("[visualViewport.width, document.documentElement.scrollWidth]") == [390, 390]


def test_no_take_is_made_twice_and_a_pair_that_was_chosen_stays(opened, studio, job):
    mine = opened()
    page = mine.page
    assert page.locator("#mix-label").text_content().startswith("In the video:")
    for side in "ab":
        page.locator(f'[data-take="1"] [data-set="{side}"]').click()
    page.locator("#seed").fill("5")
    for told in ("", " with seed 6: with seed 5 it would be take {} again"):
        before = studio.job(job)["takes"][-1]["number"]
        page.locator("#make").click()
        words = f"Take {before + 1} is being made{told.format(before)}."
        mine.until(f"document.getElementById('status').textContent === '{words}'", 20)
        assert page.locator("#seed").input_value() == "5"
        mine.wait_for_take(before + 1)
        assert status(page) == f"Take {before + 1} is ready, under Takes. A and B stay as you chose them."
        assert [page.locator(f"#pick-{side}").input_value() for side in "ab"] == ["1", "1"]
    for number in (before, before + 1):
        studio.ask("DELETE", f"/api/jobs/{job}/takes/{number}")


def test_a_video_that_can_not_be_read_is_told_as_such(opened, studio):
    bad = studio.ask("POST", "/api/jobs?name=holiday.mp4", data=b"no video at all" * 100)["id"]
    studio.finished(bad)
    page = opened().page
    page.goto(f"{studio.base}/#{bad}")
    page.locator('[data-step="read"][data-state="failed"]').wait_for()
    steps = page.locator("#steps").inner_text()
    assert steps.count("not done") == 3 and "cancelled" not in steps
    assert page.locator("#again").is_hidden() and page.get_by_role("button", name="try again").count() == 0
    for message, told in (("take 1 is gone", "Take 1 is gone"), ("my dance.mp4: no video", "my dance.mp4: no video")):
        page.evaluate(f"import('/static/dom.js').then(({{ complain }}) => complain({{ message: '{message}' }}))")
        page.locator("#status").get_by_text(told, exact=True).wait_for()
    page.locator("#home").click()
    line = page.locator(f'#jobs [data-job="{bad}"]')
    line.wait_for()
    assert "failed" in line.inner_text() and "0 takes" not in line.inner_text()
    studio.ask("DELETE", f"/api/jobs/{bad}")
    until(20, lambda: line.count() == 0)
