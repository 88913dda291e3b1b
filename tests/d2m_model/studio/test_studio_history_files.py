"""The history of a dance's beats on the disk: after a kill, on a full disk, of an earlier version, in a project, at its limit."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest

from d2m_model.rhythm.beats_file import read_beats, write_beats
from d2m_model.studio import history as history_file
from d2m_model.studio.history import ELSEWHERE, read_history
from d2m_model.studio.job import load_job
from dataset_tools.lib.core.errors import UserError
from tests.d2m_model.studio.conftest import CHANGE, finished_job, project_of
from tests.d2m_model.studio.test_studio_history import begun, history_of, save, step, strong_job, worked


class Killed(BaseException):
    """The server is killed at this place."""


def kill(*_args):
    raise Killed


@pytest.mark.parametrize("earlier", ["nothing", "another dancer"])
def test_a_server_that_is_killed_between_its_two_files_loses_no_step(jobs, client, monkeypatch, earlier):
    job = finished_job(jobs)
    if earlier == "another dancer":
        client.post(f"/api/jobs/{job.id}/dancer", json={"dancer": 1}, headers=CHANGE)
        worked(job, replace(read_beats(job.found_beats), beats=np.array([0.5, 1.5]), downbeats=np.zeros(0)))
    told = history_of(client, job)
    kept, edit = len(told["steps"]), step(removed=[[1.5, False]], added=[[1.52, False]])
    wanted = [1.52 if time == 1.5 else time for time in told["beats"]]
    values = {"version": told["version"], "kept": kept, "steps": [edit], "at": kept + 1}
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("d2m_model.studio.beats_edits.write_history", kill)
        save(client, job, wanted, **values)
    assert read_beats(job.beats).beats.tolist() == wanted
    found = history_of(client, job)["steps"][kept]
    assert found["label"] == ELSEWHERE and [1.5, False] in found["removed"] and [1.52, False] in found["added"]
    save(client, job, wanted, **values)
    found = history_of(client, job)["steps"][kept]
    assert found["label"] == "moved beat" and [1.5, False] in found["removed"] and [1.52, False] in found["added"]


@pytest.mark.parametrize("place", ["ask", "save"])
def test_a_server_that_is_killed_while_the_dancer_changes_has_no_beats_of_another_one(jobs, client, monkeypatch, place):
    job = finished_job(jobs)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(jobs if place == "ask" else job, place, kill)
        client.post(f"/api/jobs/{job.id}/dancer", json={"dancer": 1}, headers=CHANGE)
    later = load_job(job.folder)
    assert later.dancer == 0 or later.tasks["rhythm"].state == "waiting"


def test_on_a_full_disk_the_dancer_stays_the_one_whose_beats_are_found(jobs, client, monkeypatch):
    job = finished_job(jobs)

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(job, "save", full)
    assert client.post(f"/api/jobs/{job.id}/dancer", json={"dancer": 1}, headers=CHANGE).status_code == 507
    assert job.dancer == 0 == load_job(job.folder).dancer


def test_a_history_of_an_earlier_version_knows_neither_dancer_nor_strengths(jobs, client):
    job, _ = strong_job(jobs)
    begun(client, job)
    job.dancer = 1
    job.save()
    known = ("format", "version", "at", "steps", "beats", "downbeats")
    job.history.write_text(json.dumps({name: json.loads(job.history.read_text())[name] for name in known}))
    assert [s["label"] for s in history_of(client, job)["steps"]] == ["tapped beats", "moved beat"]
    strength = read_beats(job.beats).strength.tolist()
    write_beats(job.beats, replace(read_beats(job.beats), beats=np.array([1.0, 2.75])))
    found = history_of(client, job)
    assert found["steps"][2] == step(ELSEWHERE, [[2.5, False]], [[2.75, False]])
    save(client, job, [1.0, 2.5], version=found["version"], kept=3, steps=[], at=2)
    assert read_beats(job.beats).strength[0] == strength[0] and job.dancer == 1


def test_edits_that_lead_out_of_the_video_are_refused_in_a_line(jobs, client):
    job = finished_job(jobs)
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    answer = save(client, job, [1.0], version=0, kept=0, steps=[step(added=[[99.0, False]])], at=1)
    assert answer.status_code == 400 and "3 s of the dance" in answer.json["error"] and "\n" not in answer.json["error"]
    assert history_of(client, job)["steps"] == []


@pytest.mark.parametrize("strange", [{"dancer": 2}, {"steps": [step() | {"dancers": [7, 0]}], "at": 1}])
def test_a_project_whose_history_follows_a_dancer_who_is_not_there_is_refused(jobs, client, tmp_path, strange):
    job = finished_job(jobs)
    project = project_of(job, tmp_path, {"history.json": json.dumps(strange)})
    answer = client.post("/api/projects", data=project, headers=CHANGE)
    assert answer.status_code == 400 and "dancers of history.json" in answer.json["error"]


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
    assert [s["label"] for s in history_of(client, job)["steps"]] == ["edit 1", "edit 2"], "around the current beats"


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
