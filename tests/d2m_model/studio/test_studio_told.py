"""What the studio's page tells, and when: a server without models, whose worker does what the test says."""

import contextlib
import shutil
import socket
import threading
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from d2m_model.rhythm.beats_file import read_beats, write_beats
from d2m_model.studio.http_server import create_server
from d2m_model.studio.job import Task
from d2m_model.studio.session import Session
from d2m_model.studio.stage import application
from d2m_model.studio.view import job_view
from d2m_model.studio.work_video import beats_with
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.worker_process import ProcessLost
from tests.d2m_model.studio.conftest import TOKEN, finished_job
from tests.helpers.studio_page import BROWSER, Page, swipe
from tests.helpers.within import until

pytestmark = [pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"), pytest.mark.timeout(120)]
NOBODY = {"found": "nobody was found: a rhythm of its own, 5 beats", "doubt": True, "advice": "Tap.", "invented": True}


class Work:
    """In place of the worker process. gates[key] holds a task until it is set; wrong[key] is its failure."""

    def __init__(self, jobs):
        self.jobs, self.gates, self.wrong = jobs, defaultdict(threading.Event), {}
        self.stopped = threading.Event()

    def call(self, function, *arguments, wanted=lambda: True, on_message=lambda what: None, **limits):
        if function.__name__ == "warm_up":
            return {"styles": ["house"]}
        key = arguments[1]
        if not self.gates[key].wait(60) or not wanted():
            raise ProcessLost("it was stopped")
        if key in self.wrong:
            raise UserError(self.wrong[key])
        job = self.jobs.running.job
        if key == "rhythm":
            keep = job.tasks["rhythm"].arguments.get("keep")
            beats = read_beats(job.folder / "takes" / "1.beats.json")
            found = beats if job.dancer == 0 else replace(beats, beats=np.array([0.4, 1.4]), downbeats=np.array([0.4]), strength=np.ones(2))  # fmt: skip
            write_beats(job.found_beats, found)
            write_beats(job.beats, beats_with(job.beats, found) if keep else found)
            return {"found": f"{len(found.beats)} beats"}
        if key.startswith("take-"):
            number = int(key[5:])
            for name in (job.take, lambda n: job.folder / "takes" / f"{n}.json"):
                shutil.copy(name(1), name(number))
        return {"found": "1.0 s", "seconds": 1.0, "told": "", "lufs": -16.0}

    def stop(self):
        self.stopped.set()


class Stub:
    """A running server with one finished job of 3 s, whose two dancers have beats."""

    def __init__(self, jobs):
        self.jobs, self.work, self.mine = jobs, Work(jobs), finished_job(jobs)
        jobs._process = self.work
        for path in (self.mine.beats, self.mine.found_beats, self.mine.folder / "takes" / "1.beats.json"):
            write_beats(path, replace(read_beats(path), strength=np.ones(5)))
        shutil.copy(self.mine.folder / "video.mp4", self.mine.folder / "preview.mp4")
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        session = Session(TOKEN, port)
        self.server = create_server(application(jobs.layout, jobs, session, []), session, listening, 1 << 20)
        self.base = f"http://127.0.0.1:{port}"
        self.address = f"{self.base}/?token={TOKEN}#{self.mine.id}"

    def start(self):
        def run() -> None:
            with contextlib.suppress(OSError):  # it may wait for a connection while its socket is closed
                self.server.run()

        threading.Thread(target=run, daemon=True).start()
        self.jobs.start()

    def job(self, job):
        return job_view(self.jobs, self.jobs.get(job))


@pytest.fixture
def stub(jobs):
    found = Stub(jobs)
    found.start()
    yield found
    found.server.close()
    for key in (*found.work.gates, "rhythm"):
        found.work.gates[key].set()


@pytest.fixture
def opened(stub):
    """opened(**context): a new browser in which the job is shown."""
    pages = []

    def open_page(**context) -> Page:
        mine = Page(play, stub, **context)
        pages.append(mine)
        mine.page.locator('[data-beat="0"]').wait_for()
        return mine

    with pytest.importorskip("playwright.sync_api").sync_playwright() as play:
        yield open_page
        for mine in pages:
            assert mine.errors == [] and mine.outside == []
            mine.browser.close()


def told(mine, text: str) -> None:
    """Wait until the status line begins so."""
    try:
        mine.page.locator("#status", has_text=text).wait_for(timeout=20_000)
    except Exception:
        raise AssertionError(f"{mine.page.locator('#status').inner_text()!r}, not {text!r}") from None


def file(name: str, content: bytes = b"no audio") -> dict:
    return {"name": name, "mimeType": "audio/wav", "buffer": content}


BEATS = "document.querySelectorAll('#wave > div').length && [...document.querySelectorAll('#wave > div')].map(e => e.shadowRoot).find(Boolean).querySelectorAll('[data-beat]').length"  # fmt: skip


def test_undo_of_another_dancer_shows_the_beats_at_once_and_its_words_stay(opened, stub):
    mine, work = opened(), stub.work
    page = mine.page
    work.gates["rhythm"].set()
    page.select_option("#dancer", "1")
    told(mine, "Rhythm: 2 beats.")
    work.gates["rhythm"].clear()
    page.locator('#undo[title="undo: dancer 2 followed"]:not([disabled])').click()
    mine.page.locator('[data-step="rhythm"][data-state="running"]').wait_for()
    told(mine, "Undone: dancer 2 followed. 5 beats.")
    assert page.evaluate(BEATS) == 5 and page.locator("#beat-add").is_disabled()
    page.wait_for_timeout(500)
    assert page.evaluate(BEATS) == 5
    work.gates["rhythm"].set()
    page.locator('[data-step="rhythm"][data-state="done"]').wait_for()
    page.locator("#beat-add:not([disabled])").wait_for()
    told(mine, "Undone: dancer 2 followed. 5 beats.")
    work.gates["rhythm"].clear()
    page.locator("#redo:not([disabled])").click()
    page.locator('[data-step="rhythm"][data-state="running"]').wait_for()
    assert page.evaluate(BEATS) == 2
    work.gates["rhythm"].set()
    page.locator("#beat-add:not([disabled])").wait_for()
    told(mine, "Done again: dancer 2 followed. 2 beats.")


def test_an_edit_joined_to_another_windows_dancer_brings_its_own_dancer_back(opened, stub):
    stub.work.gates["rhythm"].set()
    mine, other, job = opened(), opened(), stub.mine
    other.page.context.set_offline(True)
    other.page.locator("#beat-after").click()
    other.page.locator("#beat-delete").click()
    mine.page.select_option("#dancer", "1")
    until(20, lambda: job.dancer == 1 and not stub.job(job.id)["busy"])
    other.page.context.set_offline(False)
    told(other, "Another window followed dancer 2 meanwhile: dancer 1 is followed again")
    until(20, lambda: job.dancer == 0 and read_beats(job.beats).beats.tolist() == [1.0, 1.5, 2.0, 2.5])
    other.page.locator('#undo[title="undo: dancer 1 followed"]:not([disabled])').click()
    until(20, lambda: job.dancer == 1 and read_beats(job.beats).beats.tolist() == [0.4, 1.4])


def test_an_unreadable_file_is_refused_and_is_no_style(opened, stub):
    mine, work = opened(), stub.work
    page = mine.page
    page.select_option("#style", "house")
    page.select_option("#style", "file")
    assert page.locator("#style-note").is_hidden()
    work.wrong["sound-1"] = "notes.wav: not a readable audio file"
    page.locator("#style-file").set_input_files(file("notes.wav"))
    told(mine, "notes.wav is being read …")
    assert page.locator("#style-note").inner_text() == "notes.wav is not read yet."
    work.gates["sound-1"].set()
    told(mine, "notes.wav is no style: not a readable audio file. The style is: house.")
    assert page.locator("#style").input_value() == "house" and page.locator("#style-note").is_hidden()
    assert page.locator("#style option", has_text="notes.wav").count() == 0
    until(20, lambda: "sound-1" not in stub.mine.tasks)
    work.gates["sound-2"].set()
    page.select_option("#style", "file")
    page.locator("#style-file").set_input_files(file("song.wav"))
    told(mine, "song.wav is the style of the next take.")
    assert page.locator("#style-note").inner_text() == "It will sound like song.wav."


def test_cancelled_is_said_when_it_is_true(opened, stub):
    mine, work = opened(), stub.work
    page = mine.page
    for number, button, begun, ended in (
        (2, '[data-take="2"] button:text-is("Cancel")', "Cancelling take 2 …", "Take 2 is cancelled."),
        (3, "#cancel", "Cancelling …", "Cancelled: nothing of this dance runs or waits."),
    ):
        page.locator("#make").click()
        page.locator(f'[data-take="{number}"][data-state="running"]').wait_for()
        page.locator(button).click()
        assert work.stopped.wait(20)
        told(mine, begun)
        page.locator('[data-step="music"]', has_text="is being cancelled").wait_for()
        page.wait_for_timeout(600)
        told(mine, begun)
        assert page.locator("#cancel").is_visible() and page.locator("#again").is_hidden()
        work.gates[f"take-{number}"].set()
        told(mine, ended)
        work.stopped.clear()


def test_what_songs_wait_for_and_that_the_fit_failed_is_told(opened, stub):
    mine, work = opened(), stub.work
    page = mine.page
    page.locator("#make").click()
    page.locator('[data-take="2"][data-state="running"]').wait_for()
    page.locator("#own-panel summary").click()
    page.locator("#songs").set_input_files(file("song.wav"))
    told(mine, "The song is read after take 2, which is being made …")
    page.locator("#own-make").click()
    told(mine, "Your songs are read after take 2, which is being made …")
    work.wrong["take-3"] = "no song fits"
    for key in ("take-3", "take-2", "sound-1"):
        work.gates[key].set()
    page.locator('[data-take="3"][data-state="failed"]').wait_for()
    page.wait_for_timeout(1000)
    told(mine, "Take 3 failed: no song fits.")
    page.locator('[data-take="3"] button:text-is("Try again")').click()
    until(20, lambda: stub.mine.tasks["take-3"].state == "failed" and not stub.job(stub.mine.id)["busy"])
    told(mine, "Take 3 failed: no song fits.")


def test_without_a_server_the_page_says_what_follows_and_claims_no_work(opened, stub):
    mine, work = opened(), stub.work
    page = mine.page
    page.locator("#make").click()
    page.locator("#queue", has_text="At work: My dance.mp4 (music)").wait_for()
    page.context.set_offline(True)
    page.locator("#reconnecting").wait_for()
    assert page.locator("#queue").inner_text() == ""
    page.locator("#beats-halve").click()
    told(mine, "The server does not answer. The beats will be changed when it answers again.")
    page.locator("#make").click()
    told(mine, "The server does not answer. The music will be asked for when it answers again.")
    page.context.set_offline(False)
    mine.saved(lambda beats: len(beats) == 3)
    page.locator('[data-take="3"]').wait_for()
    assert [take["number"] for take in stub.job(stub.mine.id)["takes"]] == [1, 2, 3]
    for number in (2, 3):
        work.gates[f"take-{number}"].set()
    mine.wait_for_take(3)
    assert page.locator("#queue").inner_text() == "", "the header knows it together with the take"


def test_taps_replace_invented_beats_and_nothing_snaps_to_a_motion_that_nobody_saw(opened, stub):
    job = stub.mine
    with stub.jobs.lock:
        job.put(Task(key="rhythm", kind="rhythm", asked=3, state="done", result=NOBODY))
        pose = job.tasks["pose"]
        job.put(replace(pose, result=pose.result | {"people": 1, "seen": [0.0]}))
    mine = opened()
    page = mine.page
    page.locator('[data-step="rhythm"][data-doubt="true"]', has_text="look at this").wait_for()
    page.locator('[data-step="rhythm"]', has_text="What to do").wait_for()
    assert page.locator("#snap-to option").all_inner_texts() == ["take 1"]
    page.locator("#play").click()
    mine.until("document.getElementById('seek').valueAsNumber > 0.8")
    for _ in range(3):
        page.keyboard.press("t")
        page.wait_for_timeout(300)
    page.locator("#play").click()
    told(mine, "Tapped beats in place of the invented ones. 3 beats.")
    assert len(mine.saved(lambda beats: len(beats) == 3)) == 3
    assert not stub.job(job.id)["beats"]["downbeats"]
    page.locator("#undo").click()
    mine.saved(lambda beats: len(beats) == 5)


def test_what_is_out_of_range_or_not_there_is_told(opened):
    mine = opened()
    page = mine.page
    for field, wrong, words in (
        ("strictness", "99", "Strictness is a number from 0 to 20."),
        ("seed", "-5", "The seed is a whole number from 0 to"),
        ("count", "21", "The number of takes is a whole number from 1 to 20."),
    ):
        right = page.locator(f"#{field}").input_value()
        page.locator(f"#{field}").fill(wrong)
        page.locator("#skeleton-on").click()
        page.locator(f'#{field}[aria-invalid="true"]').wait_for()
        page.locator("#make").click()
        told(mine, words)
        page.locator(f"#{field}").fill(right)
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    page.locator("#beat-after").click()
    told(mine, "There is no beat after the play head.")
    page.locator("#beat-before").click()
    page.locator("#beat-after").click()
    told(mine, "This is the last beat.")
    assert page.locator('[data-take="1"]').get_attribute("aria-current") == "true"
    assert page.locator("[data-take]").count() == 1


def test_a_finger_on_the_numbers_above_the_selected_beat_draws_a_region(opened, stub):
    beats = np.round(np.arange(0.2, 2.9, 0.2), 3)  # close together: then a beat is found by its time
    for path in (stub.mine.beats, stub.mine.found_beats):
        write_beats(path, replace(read_beats(path), beats=beats, downbeats=beats[:1], strength=np.ones(len(beats))))
    mine = opened(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = mine.page
    page.locator(f'[data-beat="{len(beats) - 1}"]').wait_for(state="attached")
    wave, beat = page.locator("#wave").bounding_box(), page.locator('[data-beat="5"]').bounding_box()
    page.touchscreen.tap(beat["x"] + 1, wave["y"] + 40)
    page.locator('[data-beat="5"][data-selected="true"]').wait_for()
    swipe(mine, beat["x"] + 1, wave["y"] + wave["height"] - 10, 80, 3)
    mine.until("document.getElementById('region-from').value !== ''", 10)
    assert abs(float(page.locator("#region-from").input_value()) - beats[5]) < 0.2
    assert mine.beats() == beats.tolist()
