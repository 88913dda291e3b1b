"""Undo and redo of the beats are part of the job: every page goes on with them, and no crash leaves them half written."""

import json

import pytest

from d2m_model.rhythm.beats_file import write_beats
from d2m_model.studio import history as history_file
from d2m_model.studio.history import ELSEWHERE, read_history
from d2m_model.studio.jobs import Jobs
from d2m_model.studio.params import Params
from dataset_tools.lib.core.errors import UserError
from tests.d2m_model.studio.conftest import CHANGE, client_of, finished_job, project_of


def step(label="moved beat", removed=(), added=()):
    return {"label": label, "removed": list(removed), "added": list(added)}


def save(client, job, beats, *, version, kept, steps, at):
    """The answer to the page's save of these beats with the edits that led to them."""
    values = {"beats": beats, "history": {"version": version, "kept": kept, "steps": steps, "at": at}}
    return client.put(f"/api/jobs/{job.id}/beats", json=values, headers=CHANGE)


def history_of(client, job):
    return client.get(f"/api/jobs/{job.id}/history").json


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


def test_beats_that_are_those_that_were_found_are_written_as_these(jobs, client):
    job = finished_job(jobs)
    found = client.get(f"/api/jobs/{job.id}").json["beats"]
    begun(client, job)
    values = {"beats": found["beats"], "downbeats": found["downbeats"]}
    client.put(f"/api/jobs/{job.id}/beats", json=values, headers=CHANGE)
    view = client.get(f"/api/jobs/{job.id}").json
    assert not view["beats"]["edited"] and not view["takes"][0]["old"]


def test_the_oldest_steps_are_left_out_of_a_long_history(jobs, client, monkeypatch):
    job = finished_job(jobs)
    monkeypatch.setattr(history_file, "MOST_STEPS", 5)
    steps = [step(f"edit {k}") for k in range(5)]
    save(client, job, [1.0], version=0, kept=0, steps=steps, at=5)
    answer = save(client, job, [1.0], version=1, kept=5, steps=[step("edit 5")], at=6)
    assert answer.json["history"]["at"] == 5
    assert [s["label"] for s in history_of(client, job)["steps"]] == [f"edit {k}" for k in range(1, 6)]
    monkeypatch.setattr(history_file, "MOST_BYTES", 200)
    save(client, job, [1.0], version=2, kept=5, steps=[], at=1)
    assert [s["label"] for s in history_of(client, job)["steps"]] == ["edit 1", "edit 2"], "around the beats of now"


def test_the_history_opens_again_elsewhere(jobs, client, tmp_path):
    job = finished_job(jobs)
    begun(client, job)
    answer = client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE)
    assert history_of(client, jobs.get(answer.json["id"])) == history_of(client, job)


@pytest.mark.parametrize("content", [
    {"at": 1}, {"format": 2}, {"steps": [step(added=[["<b>", False]])], "at": 1}, {"version": -1}, {"x": 1}, {"steps": [step("x" * 999)], "at": 1}, [],
])  # fmt: skip
def test_a_strange_history_is_refused_with_its_project(jobs, client, tmp_path, content):
    job = finished_job(jobs)
    write_beats(job.beats, history_file.read_beats(job.beats))
    project = project_of(job, tmp_path, {"history.json": json.dumps(content)})
    answer = client.post("/api/projects", data=project, headers=CHANGE)
    assert answer.status_code == 400 and "history.json" in answer.json["error"] and "\n" not in answer.json["error"]
    job.history.write_text(json.dumps(content))
    with pytest.raises(UserError, match="history.json"):
        read_history(job.history)
