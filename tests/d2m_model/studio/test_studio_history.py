"""Undo and redo of the beats are part of the job: every page goes on with them, and no crash leaves them half written."""

from dataclasses import replace

import numpy as np
import pytest

from d2m_model.rhythm.beats_file import Beats, read_beats, write_beats
from d2m_model.studio.history import ELSEWHERE
from d2m_model.studio.jobs import Jobs
from d2m_model.studio.params import Params
from d2m_model.studio.work_video import beats_with
from tests.d2m_model.studio.conftest import CHANGE, client_of, finished_job


def step(label="moved beat", removed=(), added=(), dancers=None):
    return {"label": label, "removed": list(removed), "added": list(added), "dancers": dancers}


def save(client, job, beats, *, version, kept, steps, at):
    """The answer to the page's save of these beats with the edits that led to them."""
    values = {"beats": beats, "history": {"version": version, "kept": kept, "steps": steps, "at": at}}
    return client.put(f"/api/jobs/{job.id}/beats", json=values, headers=CHANGE)


def history_of(client, job):
    return client.get(f"/api/jobs/{job.id}/history").json


def worked(job, found):
    """Do what the worker does for `rhythm`, with these beats."""
    task = job.tasks["rhythm"]
    write_beats(job.found_beats, found)
    write_beats(job.beats, beats_with(job.beats, found) if task.arguments.get("keep") else found)
    job.put(replace(task, state="done", result={"found": "beats"}))


def begun(client, job):
    """Save 1 and 2 s, then 1 and 2.5 s; the second step."""
    first = step("tapped beats", [[t, t in (0.5, 2.5)] for t in (0.5, 1.5, 2.5)], [])
    assert save(client, job, [1.0, 2.0], version=0, kept=0, steps=[first], at=1).json["history"] == {"version": 1, "at": 1}  # fmt: skip
    second = step(removed=[[2.0, False]], added=[[2.5, False]])
    assert save(client, job, [1.0, 2.5], version=1, kept=1, steps=[second], at=2).status_code == 200
    return second


def test_another_browser_and_a_later_server_undo_what_one_page_did(jobs, client):
    job = finished_job(jobs)
    second = begun(client, job)
    later = Jobs(jobs.layout, Params())
    later.load()
    found = history_of(client_of(later), later.get(job.id))
    assert (found["version"], found["at"], found["steps"][1]) == (2, 2, second) and found["beats"] == [1.0, 2.5]
    assert save(client_of(later), later.get(job.id), [1.0, 2.0], version=2, kept=2, steps=[], at=1).status_code == 200
    found = history_of(client, job)
    assert (found["at"], len(found["steps"]), found["beats"]) == (1, 2, [1.0, 2.0]), "the undone step can be done again"


def test_a_page_that_does_not_know_the_newest_beats_overwrites_nothing(jobs, client):
    job = finished_job(jobs)
    begun(client, job)
    answer = save(client, job, [0.1], version=1, kept=1, steps=[step()], at=2)
    assert answer.status_code == 409 and "meanwhile" in answer.json["error"]
    assert history_of(client, job)["beats"] == [1.0, 2.5]
    for wrong in (
        {"at": 3},
        {"kept": 9},
        {"steps": [step(label=1)]},
        {"steps": [step(added=[[-1, False]])]},
        {"at": -1},
    ):
        values = {"version": 2, "kept": 2, "steps": [], "at": 2} | wrong
        assert save(client, job, [1.0], **values).status_code in (400, 409), wrong
    assert history_of(client, job)["beats"] == [1.0, 2.5]


def test_beats_that_were_changed_without_the_history_are_one_more_step(jobs, client):
    """As after a server was killed between its two files, or after another dancer was chosen."""
    job = finished_job(jobs)
    begun(client, job)
    client.put(f"/api/jobs/{job.id}/beats", json={"beats": [1.0, 2.75]}, headers=CHANGE)
    found = history_of(client, job)
    assert found["at"] == 3 and found["steps"][2] == step(ELSEWHERE, [[2.5, False]], [[2.75, False]])
    job.history.write_text('{"format": 1, "at": 3')
    assert history_of(client, job)["steps"] == [] and history_of(client, job)["beats"] == [1.0, 2.75]


def strong_job(jobs):
    """A job whose beats have strengths of their own; (job, content of its file of beats)."""
    job = finished_job(jobs)
    strength = np.array([0.9, 0.1, 0.2, 0.3, 0.8])
    for path in (job.found_beats, job.beats, job.folder / "takes" / "1.beats.json"):
        write_beats(path, replace(read_beats(path), strength=strength, style={"house": 1.0}, tempo=121.0))
    return job, job.beats.read_bytes()


@pytest.mark.parametrize(("removed", "added"), [
    ([[1.5, False]], [[1.9, False]]),
    ([[1.0, False], [1.5, False]], [[1.05, False], [1.31, False], [1.6, False]]),
    ([[t, t in (0.5, 2.5)] for t in np.arange(0.5, 3, 0.5).tolist()], []),
], ids=["a long move", "taps", "all deleted"])  # fmt: skip
def test_undo_brings_back_the_strengths(jobs, client, removed, added):
    job, before = strong_job(jobs)
    found = client.get(f"/api/jobs/{job.id}").json["beats"]["beats"]
    gone = [t for t, _ in removed]
    edited = sorted([t for t in found if t not in gone] + [t for t, _ in added])
    save(client, job, edited, version=0, kept=0, steps=[step(removed=removed, added=added)], at=1)
    then = job.beats.read_bytes()
    # As a merged step: the page replaces its last one.
    save(client, job, edited[1:], version=1, kept=0, steps=[step(removed=[*removed, [edited[0], True]] if edited else removed, added=added)], at=1)  # fmt: skip
    save(client, job, edited, version=2, kept=0, steps=[step(removed=removed, added=added)], at=1)
    assert job.beats.read_bytes() == then
    values = {"beats": found, "downbeats": [0.5, 2.5], "history": {"version": 3, "kept": 1, "steps": [], "at": 0}}
    client.put(f"/api/jobs/{job.id}/beats", json=values, headers=CHANGE)
    assert job.beats.read_bytes() == before
    assert not client.get(f"/api/jobs/{job.id}").json["takes"][0]["old"]


def test_double_after_halve_brings_back_the_strengths(jobs, client):
    job, _ = strong_job(jobs)
    first = {"beats": [0.5, 1.0, 1.5, 2.0, 2.6], "downbeats": [0.5, 2.6]}  # no longer what was found
    moved = step(removed=[[2.5, True]], added=[[2.6, True]])
    answer = client.put(f"/api/jobs/{job.id}/beats", json=first | {"history": {"version": 0, "kept": 0, "steps": [moved], "at": 1}}, headers=CHANGE)  # fmt: skip
    assert answer.status_code == 200
    before = read_beats(job.beats)
    assert before.strength.tolist() == [0.9, 0.1, 0.2, 0.3, 0.8]
    half = step("halved", removed=[[1.0, False], [2.0, False]])
    double = step("doubled", added=[[1.0, False], [2.0, False]])
    save(client, job, [0.5, 1.5, 2.6], version=1, kept=1, steps=[half], at=2)
    assert save(client, job, first["beats"], version=2, kept=2, steps=[double], at=3).status_code == 200
    assert read_beats(job.beats).strength.tolist() == before.strength.tolist()


def changed(client, job, operation, beats):
    """The beats and down-beats after one of the server's operations on these."""
    values = {**operation, "beats": beats, "downbeats": []}
    answer = client.post(f"/api/jobs/{job.id}/beats/change", json=values, headers=CHANGE).json["beats"]
    return answer["beats"]


@pytest.mark.parametrize("earlier", [False, True], ids=["first edit", "after edits"])
def test_undo_of_an_operation_brings_back_the_beats_before_it(jobs, client, earlier):
    job = finished_job(jobs)
    kept = 0
    if earlier:
        begun(client, job)
        write_beats(
            job.beats,
            replace(
                read_beats(job.beats), beats=np.array([0.5, 1.5, 2.5]), downbeats=np.array([0.5]), strength=np.ones(3)
            ),
        )  # found again
        kept = len(history_of(client, job)["steps"])
        assert kept == 3
    before = history_of(client, job)
    half = changed(client, job, {"operation": "halve"}, before["beats"])
    assert half == before["beats"][::2]
    halved = step("halved", [[t, t in before["downbeats"]] for t in before["beats"]], [[t, False] for t in half])
    assert save(client, job, half, version=before["version"], kept=kept, steps=[halved], at=kept + 1).status_code == 200
    found = history_of(client, job)
    assert found["at"] == kept + 1 and found["steps"][-1]["removed"] and found["beats"] == half
    answer = save(client, job, before["beats"], version=found["version"], kept=kept + 1, steps=[], at=kept)
    assert answer.status_code == 200
    assert history_of(client, job)["beats"] == before["beats"] == read_beats(job.beats).beats.tolist()


def test_undo_of_another_dancer_brings_back_the_dancer_and_his_beats(jobs, client):
    job, before = strong_job(jobs)
    found = client.get(f"/api/jobs/{job.id}").json["beats"]
    assert client.post(f"/api/jobs/{job.id}/dancer", json={"dancer": 1}, headers=CHANGE).status_code == 202
    # One of his beats is at a time of the other's, with another strength.
    other = Beats(fps=30, seconds=3.0, beats=np.array([0.5, 1.2]), downbeats=np.array([0.5]), strength=np.ones(2), tempo=85.0, style={"krump": 1.0})  # fmt: skip
    worked(job, other)
    told = history_of(client, job)
    assert (told["at"], told["steps"][0]["label"]) == (1, "dancer 2 followed")
    values = {"beats": found["beats"], "downbeats": found["downbeats"], "history": {"version": told["version"], "kept": 1, "steps": [], "at": 0}}  # fmt: skip
    assert client.put(f"/api/jobs/{job.id}/beats", json=values, headers=CHANGE).status_code == 200
    assert job.dancer == 0 and job.tasks["rhythm"].state == "waiting" and job.tasks["rhythm"].arguments == {"keep": True}  # fmt: skip
    assert read_beats(job.beats).strength.tolist() == [0.9, 0.1, 0.2, 0.3, 0.8]
    worked(job, replace(read_beats(job.folder / "takes" / "1.beats.json")))
    assert job.beats.read_bytes() == before
    assert not client.get(f"/api/jobs/{job.id}").json["takes"][0]["old"]
    told = history_of(client, job)
    assert (told["at"], len(told["steps"])) == (0, 1)
    values = {"beats": [0.5, 1.2], "downbeats": [0.5], "history": {"version": told["version"], "kept": 1, "steps": [], "at": 1}}  # fmt: skip
    assert client.put(f"/api/jobs/{job.id}/beats", json=values, headers=CHANGE).status_code == 200
    assert job.dancer == 1 and read_beats(job.beats).strength.tolist() == [1.0, 1.0]


def test_a_pages_step_may_change_the_dancer_to_one_who_is_there(jobs, client):
    """As after another window followed another dancer, while this one edited the beats."""
    job = finished_job(jobs)
    client.post(f"/api/jobs/{job.id}/dancer", json={"dancer": 1}, headers=CHANGE)
    worked(job, replace(read_beats(job.found_beats), beats=np.array([0.5, 1.2]), downbeats=np.array([0.5])))
    told = history_of(client, job)
    assert told["dancer"] == 1 and told["steps"][0]["dancers"] == [0, 1]
    back = lambda *dancers: [step("dancer 1 followed", [[1.2, False]], [[1.0, False]], dancers)]
    for wrong in ((1, 2), (2, 0), (0, 1)):
        answer = save(client, job, [0.5, 1.0], version=told["version"], kept=1, steps=back(*wrong), at=2)
        assert answer.status_code == 400 and "dancer" in answer.json["error"] and job.dancer == 1
    assert save(client, job, [0.5, 1.0], version=told["version"], kept=1, steps=back(1, 0), at=2).status_code == 200
    assert job.dancer == 0 and job.tasks["rhythm"].arguments == {"keep": True}
    worked(job, read_beats(job.found_beats))
    told = history_of(client, job)
    assert (told["dancer"], told["at"], told["steps"][1]["dancers"]) == (0, 2, [1, 0])
    assert save(client, job, [0.5, 1.2], version=told["version"], kept=2, steps=[], at=1).status_code == 200
    assert job.dancer == 1 and read_beats(job.beats).beats.tolist() == [0.5, 1.2]


def test_an_edit_while_the_beats_are_found_is_no_mistake_and_is_saved_afterwards(jobs, client):
    """As after two quick undos, of which the first one changes the dancer."""
    job = finished_job(jobs)
    found = client.get(f"/api/jobs/{job.id}").json["beats"]["beats"]
    moved = step(removed=[[1.5, False]], added=[[1.52, False]])
    save(client, job, [0.5, 1.0, 1.52, 2.0, 2.5], version=0, kept=0, steps=[moved], at=1)
    client.post(f"/api/jobs/{job.id}/dancer", json={"dancer": 1}, headers=CHANGE)
    worked(job, read_beats(job.found_beats))
    version = history_of(client, job)["version"]
    assert save(client, job, [0.5, 1.0, 1.52, 2.0, 2.5], version=version, kept=2, steps=[], at=1).status_code == 200
    early = {"version": version + 1, "kept": 2, "steps": [], "at": 0}
    assert save(client, job, found, **early).status_code == 409, "the page keeps it"
    worked(job, read_beats(job.found_beats))
    assert save(client, job, found, **early).status_code == 200
    assert read_beats(job.beats).beats.tolist() == found and job.dancer == 0
