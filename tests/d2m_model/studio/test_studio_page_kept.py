"""The studio's page keeps what a person did: on a full disk, in a job that is left at once, and what is dropped on it."""

import errno

import pytest

from d2m_model.rhythm.beats_file import read_beats
from tests.d2m_model.studio.test_studio_told import BEATS, BROWSER, opened, stub, told  # noqa: F401 - fixtures
from tests.helpers.within import until

pytestmark = [pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"), pytest.mark.timeout(120)]
STASH = """() => new Promise(done => {
  indexedDB.open('studio').onsuccess = event => {
    const kept = event.target.result.transaction('unsaved').objectStore('unsaved').getAllKeys();
    kept.onsuccess = () => done(kept.result);
  };
})"""
DROP = """([name, type]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(['what was dropped'], name, { type }));
  for (const kind of ['dragenter', 'dragover', 'drop']) document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
}"""


def delete_a_beat(page):
    page.locator("#beat-after").click()
    page.locator("#beat-delete").click()


def test_an_edit_that_a_full_disk_refuses_is_kept_and_saved_when_there_is_room(opened, stub, monkeypatch):  # noqa: F811
    mine = opened()

    def full(path, beats):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("d2m_model.studio.beats_edits.write_beats", full)
        delete_a_beat(mine.page)
        told(mine, "make room")
        mine.page.wait_for_timeout(3000)  # the page has asked for the job again
        assert mine.page.evaluate(BEATS) == 4 and len(read_beats(stub.mine.beats).beats) == 5
    until(20, lambda: len(read_beats(stub.mine.beats).beats) == 4)
    assert mine.page.evaluate(BEATS) == 4


def test_edits_in_a_job_that_is_left_while_it_is_saved_are_all_saved(opened, stub):  # noqa: F811
    mine = opened()
    page, waiting = mine.page, []
    first_waits = lambda route: route.continue_() if waiting else waiting.append(route)
    page.route(f"**/api/jobs/{stub.mine.id}/beats", first_waits)
    delete_a_beat(page)
    mine.until("document.getElementById('saved').textContent === 'saving …'", 10)
    for _ in range(100):
        if waiting:
            break
        page.wait_for_timeout(50)
    page.locator("#beat-delete").click()
    page.locator("#home").click()
    waiting[0].continue_()
    for _ in range(100):
        if len(read_beats(stub.mine.beats).beats) == 3:
            break
        page.wait_for_timeout(50)
    assert len(read_beats(stub.mine.beats).beats) == 3
    page.wait_for_timeout(500)
    assert page.evaluate(STASH) == [], "or it would be sent again over what another browser did since"


def test_what_is_dropped_is_opened_or_is_a_song(opened, stub):  # noqa: F811
    page = opened().page
    page.evaluate(DROP, ["song.wav", "audio/wav"])
    until(20, lambda: "sound-1" in stub.mine.tasks)
    assert (stub.mine.folder / "songs" / "1.wav").read_text() == "what was dropped"
    page.evaluate(DROP, ["holiday.mp4", "video/mp4"])
    page.locator("#title", has_text="holiday.mp4").wait_for()
    (other,) = [job for job in stub.jobs.all() if job is not stub.mine]
    assert (other.folder / other.video).read_text() == "what was dropped"
