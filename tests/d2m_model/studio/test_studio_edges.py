"""The studio where two things happen at once, and where values are at their ends."""

import json

import numpy as np
import pytest

from d2m_model.rhythm.beats_file import Beats, write_beats
from d2m_model.studio.job import MOST_NUMBER, Task, load_job
from dataset_tools.lib.core.errors import UserError
from tests.d2m_model.studio.conftest import CHANGE, finished_job
from tests.d2m_model.studio.test_studio_web import project_of


def lasting(job, seconds):
    """Make the beats those of a longer dance."""
    for path in (job.found_beats, job.beats):
        write_beats(path, Beats(fps=30, seconds=seconds, beats=np.arange(0.5, seconds, 0.5)))


# Beats


def test_two_beats_far_apart_can_be_saved_seen_and_changed(jobs, client):
    job = finished_job(jobs)
    lasting(job, 60.0)
    saved = client.put(f"/api/jobs/{job.id}/beats", json={"beats": [1.0, 40.0]}, headers=CHANGE)
    assert saved.status_code == 200 and client.get(f"/api/jobs/{job.id}").json["beats"]["beats"] == [1.0, 40.0]
    assert client.put(f"/api/jobs/{job.id}/beats", json={"beats": [1.0, 2.0]}, headers=CHANGE).status_code == 200


# Projects of strangers


def with_sound(job):
    """A job that also has a song and a sound to imitate."""
    for number, use, file in ((1, "song", "songs/1.mp3"), (2, "style", "sounds/given-2.flac")):
        (job.folder / file).parent.mkdir(exist_ok=True)
        (job.folder / file).write_bytes(b"sound")
        arguments = {"file": file, "name": "My song.mp3", "use": use}
        job.put(Task(key=f"sound-{number}", kind="sound", asked=10 + number, state="done", arguments=arguments, result={"found": "9.0 s", "seconds": 9.0}))  # fmt: skip
    (job.folder / "sounds/2.wav").write_bytes(b"RIFF")
    return job


STRANGE = [
    ("read", "asked", 10**400), ("read", "asked", -1), ("read", "kind", "take"), ("take-1", "kind", "export"), ("sound-1", "kind", "export"),
    ("read", "arguments", {"x": 1}), ("read", "result.seconds", 1e9), ("read", "result.found", ["x"]), ("read", "result.sound", 1), ("read", "result.begin", float("inf")),
    ("pose", "result.seen", [1.0, float("nan")]), ("pose", "result.seen", [1.0, "<b>"]), ("pose", "result.people", 2.0), ("rhythm", "result", {}),
    ("take-1", "arguments.style", {}), ("take-1", "arguments.style", {"sound": "x"}), ("take-1", "arguments.style", [1]), ("take-1", "arguments.level", "x"),
    ("take-1", "arguments.redo", "x"), ("take-1", "arguments.redo", [0]), ("take-1", "arguments.keep", [0, "1"]), ("take-1", "arguments.seed", 1e300),
    ("take-1", "arguments.loudness", float("-inf")), ("take-1", "result.lufs", float("nan")), ("take-1", "result.told", {}), ("take-1", "result.seconds", None),
    ("take-1", "notes", ["x"] * 1000), ("sound-1", "arguments.name", 3), ("sound-1", "arguments.use", "x"), ("sound-1", "result.seconds", "9"),
    ("sound-1", "arguments.file", "../../../params.yaml"), ("sound-1", "arguments.file", "/etc/passwd"), ("sound-1", "arguments.file", "songs/2.mp3"),
    ("sound-2", "arguments.file", "job.json"), ("sound-2", "arguments.file", "songs/1.mp3"),
]  # fmt: skip


@pytest.mark.parametrize("key, name, value", STRANGE, ids=[f"{key} {name}" for key, name, _ in STRANGE])
def test_records_that_the_studio_would_not_write_are_refused(jobs, client, tmp_path, key, name, value):
    job = with_sound(finished_job(jobs))
    record = json.loads((job.folder / f"tasks/{key}.json").read_text())
    place, parts = record, name.split(".")
    for part in parts[:-1]:
        place = place[part]
    place[parts[-1]] = value
    project = project_of(job, tmp_path, {f"tasks/{key}.json": json.dumps(record)})
    answer = client.post("/api/projects", data=project, headers=CHANGE)
    assert answer.status_code == 400 and "\n" not in answer.json["error"]
    assert len(jobs.all()) == 1 and client.get("/api/state").status_code == 200


@pytest.mark.parametrize("changes", [
    {"beats.json": b'{"beats": "x"}'}, {"found.json": b"{"}, {"beats.json": b'{"beats": [1, 2], "seconds": 9}'}, {"songs/1.mp3": None}, {"sounds/2.wav": None},
    {"tasks/take-1.mp4.json": b'{"key": "take-1.mp4", "kind": "export", "asked": 9, "state": "done", "arguments": {}, "result": {}, "notes": [], "error": null}'},
])  # fmt: skip
def test_projects_whose_files_do_not_fit_are_refused(jobs, client, tmp_path, changes):
    job = with_sound(finished_job(jobs))
    answer = client.post("/api/projects", data=project_of(job, tmp_path, changes), headers=CHANGE)
    assert answer.status_code == 400 and str(jobs.folder) not in answer.json["error"] and len(jobs.all()) == 1


def test_a_project_with_sounds_opens_and_its_sounds_can_be_removed(jobs, client, tmp_path):
    job = with_sound(finished_job(jobs))
    answer = client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE)
    assert answer.status_code == 201, answer.json
    other = jobs.get(answer.json["id"])
    for number in (1, 2):
        assert client.delete(f"/api/jobs/{other.id}/sounds/{number}", headers=CHANGE).status_code == 200
    left = {p.relative_to(other.folder).as_posix() for p in other.folder.rglob("*")}
    assert not {"songs/1.mp3", "sounds/2.wav", "sounds/given-2.flac"} & left


def test_a_project_that_was_damaged_on_its_way_is_refused_wherever_the_damage_is(jobs, client, tmp_path):
    whole = bytearray(project_of(finished_job(jobs), tmp_path))
    for at in range(60, len(whole), len(whole) // 60):
        damaged = bytes(whole[:at]) + bytes(8) + bytes(whole[at + 8 :])
        assert client.post("/api/projects", data=damaged, headers=CHANGE).status_code in (201, 400), at


# Jobs on disk


def test_a_job_is_read_while_the_server_writes_another_task_of_it(jobs):
    job = finished_job(jobs)
    (job.folder / "tasks" / ".take-2.1234.part.json").write_text("")
    assert set(load_job(job.folder).tasks) == {"read", "pose", "rhythm", "take-1"}
    (job.folder / "tasks/pose.json").unlink()
    with pytest.raises(UserError, match="records of its steps"):
        load_job(job.folder)


def test_the_last_number_of_a_take_is_told(jobs, client):
    job = finished_job(jobs)
    task = job.tasks["take-1"]
    job.put(
        Task(
            key=f"take-{MOST_NUMBER}", kind="take", asked=9, state="done", arguments=task.arguments, result=task.result
        )
    )
    answer = client.post(f"/api/jobs/{job.id}/takes", json={}, headers=CHANGE)
    assert answer.status_code == 400 and "no number left" in answer.json["error"]
