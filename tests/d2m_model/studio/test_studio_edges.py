"""The studio where two things happen at once, and where values are at their ends."""

import errno
import json
import struct
import time

import numpy as np
import pytest

from d2m_model.metrics.motion_beats import motion_beats
from d2m_model.rhythm.beats_file import Beats, write_beats
from d2m_model.studio.asked import first_take
from d2m_model.studio.drawing import write_motion
from d2m_model.studio.job import MOST_NOTES, MOST_NUMBER, Task, load_job
from d2m_model.studio.jobs import Unknown
from d2m_model.studio.serving import _bind
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.worker_process import ProcessLost
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


def test_changes_that_no_file_of_beats_can_hold_are_refused_in_a_line(jobs, client):
    job = finished_job(jobs)
    lasting(job, 3000.0)
    many = [round(0.02 * k, 4) for k in range(60_000)]
    close = [1.0001, 1.0002, 1.0003]
    for values in (
        {"operation": "double", "beats": many},
        {"operation": "double", "beats": close},
        {"operation": "shift", "beats": [1.0], "seconds": 61.0},  # as `generate --shift`
        {"operation": "snap", "beats": [1.0], "to": "1" * 5000},
        {"operation": "snap", "beats": [1.0], "to": 10**30},
    ):
        answer = client.post(f"/api/jobs/{job.id}/beats/change", json=values, headers=CHANGE)
        assert answer.status_code == 400 and "\n" not in answer.json["error"], values["operation"]
    assert len(client.get(f"/api/jobs/{job.id}").json["beats"]["beats"]) == 5999


def test_numbers_of_any_length_are_only_not_found(jobs, client):
    job = finished_job(jobs)
    for number in ("1" * 5000, "01", "x", "1.mp4", "-1"):
        assert client.get(f"/api/jobs/{job.id}/sound/{number}").status_code == 404
        for what in ("takes", "sounds"):
            assert client.delete(f"/api/jobs/{job.id}/{what}/{number}", headers=CHANGE).status_code == 404, number
    assert set(job.tasks) == {"read", "pose", "rhythm", "take-1"} and job.take(1).is_file()


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"beats": 3, "kinematic": [null]}', '{"beats": ["x"], "kinematic": {}}']
)
def test_drawings_of_strangers_are_refused_in_a_line(jobs, client, content):
    job = finished_job(jobs)
    for path in (job.folder / "takes/1.json", job.folder / "motion.json"):
        path.write_text(content)
    snap = lambda to: client.post(
        f"/api/jobs/{job.id}/beats/change", json={"operation": "snap", "beats": [1.0], "to": to}, headers=CHANGE
    )
    for answer in (snap(1), snap("motion"), client.get(f"/api/jobs/{job.id}/motion")):
        assert answer.status_code == 400 and answer.json["error"]


def test_takes_are_asked_for_all_together_or_not_at_all(jobs, client):
    job = finished_job(jobs)
    for _ in range(9):
        client.post(f"/api/jobs/{job.id}/takes", json={"count": 20}, headers=CHANGE)
    assert client.post(f"/api/jobs/{job.id}/takes", json={"count": 20}, headers=CHANGE).status_code == 400
    assert len(client.get(f"/api/jobs/{job.id}").json["takes"]) == 181
    assert client.post(f"/api/jobs/{job.id}/takes", json={"count": 19}, headers=CHANGE).status_code == 202


def test_moments_of_the_motion_are_as_exact_as_for_generate(tmp_path):
    pose = np.full((90, 17, 3), 0.5, np.float32)
    pose[:, :, 0] = 50 * np.abs(np.sin(np.arange(90) / 5))[:, None]
    write_motion(tmp_path / "motion.json", pose)
    found = np.array(json.loads((tmp_path / "motion.json").read_text())["kinematic"])
    assert len(found) > 2 and np.abs(found - motion_beats(pose)).max() <= 5.1e-5, "a file of beats has four digits"


# Two things at once


class Worker:
    """In place of the worker process: calls perform(key) in the queue's thread."""

    def __init__(self, perform):
        self.perform, self.done = perform, []

    def call(self, function, *arguments, wanted=lambda: True, heard=lambda what: None, **limits):
        if function.__name__ == "warm_up":
            return {"styles": []}
        self.heard = heard
        self.done.append(arguments[1])
        return self.perform(arguments[1]) or {"found": ""}

    def stop(self):
        pass


def worked(jobs, perform):
    """Start the queue with this worker."""
    jobs._process = Worker(perform)
    jobs.start()
    return jobs._process


def until(true):
    limit = time.monotonic() + 20
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def new_job(jobs):
    job = jobs.new("x.mp4", ".mp4")
    jobs.add(job, first_take(jobs))
    return job


def test_another_dancer_before_the_first_music_comes_before_it(jobs, client):
    job = new_job(jobs)
    for number, key in enumerate(("read", "pose"), 1):
        job.put(Task(key=key, kind=key, asked=number, state="done", result={"people": 2, "frames": 90}))
    assert client.post(f"/api/jobs/{job.id}/dancer", json={"dancer": 1}, headers=CHANGE).status_code == 202
    assert [task.key for _, task in jobs.queue()] == ["rhythm", "take-1"]
    worker = worked(jobs, lambda key: None)
    until(lambda: not jobs.queue())
    assert worker.done == ["rhythm", "take-1"]


def test_an_export_asked_before_another_dancer_waits_for_the_new_beats(jobs, client):
    job = finished_job(jobs)
    for kind, take in (("project", None), ("wav", 1)):
        client.post(f"/api/jobs/{job.id}/exports", json={"kind": kind, "take": take}, headers=CHANGE)
    client.post(f"/api/jobs/{job.id}/dancer", json={"dancer": 1}, headers=CHANGE)
    assert [task.key for _, task in jobs.queue()] == ["take-1.wav", "rhythm", "project.zip"]


def test_a_deleted_take_takes_its_exports_along(jobs, client):
    job = finished_job(jobs)
    (job.folder / "exports").mkdir()
    for name in ("take-1.wav", "beats.json"):
        (job.folder / "exports" / name).write_bytes(b"x")
        job.put(Task(key=name, kind="export", asked=9, state="done", arguments={"take": 1 if "take" in name else None}))
    client.post(f"/api/jobs/{job.id}/exports", json={"kind": "video", "take": 1}, headers=CHANGE)
    assert client.delete(f"/api/jobs/{job.id}/takes/1", headers=CHANGE).status_code == 200
    assert set(job.tasks) == {"read", "pose", "rhythm", "beats.json"} and jobs.queue() == []
    assert [path.name for path in (job.folder / "exports").iterdir()] == ["beats.json"]


def test_a_request_for_a_job_that_was_deleted_meanwhile_brings_nothing_back(jobs, client):
    job = finished_job(jobs)
    jobs.remove(job)
    with pytest.raises(Unknown):
        jobs.ask(job, "take-2", "take", {})
    assert not job.folder.exists()


def test_a_file_that_is_deleted_while_it_is_asked_for_is_not_found(jobs, client, monkeypatch):
    job = finished_job(jobs)
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: True)
    job.take(1).unlink()
    answer = client.get(f"/api/jobs/{job.id}/sound/1")
    assert answer.status_code == 404 and answer.json["error"] == "not there: 1.wav"


def test_again_makes_the_newest_take_that_was_lost_and_first_the_steps(jobs):
    job = finished_job(jobs)
    for key, state in (("take-2", "cancelled"), ("take-3", "failed")):
        job.put(Task(key=key, kind="take", asked=10, state=state, arguments=job.tasks["take-1"].arguments))
    assert jobs.again(job) and [task.key for _, task in jobs.queue()] == ["take-3"], "which the page shows as failed"
    jobs.cancel(job)
    job.put(Task(key="rhythm", kind="rhythm", asked=99, state="failed"))
    assert jobs.again(job) and [task.key for _, task in jobs.queue()][0] == "rhythm"


def test_a_full_disk_does_not_stop_the_queue(jobs, monkeypatch):
    job = new_job(jobs)

    def perform(key):
        if key == "read":
            monkeypatch.setattr("d2m_model.studio.job.write_text", full)
        elif key == "pose":
            monkeypatch.undo()

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    worked(jobs, perform)
    until(lambda: not jobs.queue())
    assert {task.state for task in job.tasks.values()} == {"done"}
    assert "make room" in job.tasks["read"].error and str(jobs.folder) not in job.tasks["read"].error
    assert [task.key for task in load_job(job.folder).tasks.values() if task.state == "waiting"] == ["read"]


def test_a_server_that_ends_leaves_the_task_that_runs_to_the_next_one(jobs):
    job = new_job(jobs)

    def perform(key):
        jobs.stop()  # then this process ends, and its worker with it
        raise ProcessLost("the process that worked on it was killed by SIGKILL")

    worked(jobs, perform)
    until(lambda: jobs._process.done)
    time.sleep(0.1)
    assert {task.state for task in load_job(job.folder).tasks.values()} == {"waiting"}
    assert jobs._process.done == ["read"]


def test_a_lost_process_is_told_once_and_of_many_notes_some_are_kept(jobs):
    job = new_job(jobs)

    def perform(key):
        for number in range(300):
            jobs._process.heard(("note", f"{number}: left out"))
        raise ProcessLost("the process that worked on it was killed by SIGSEGV")

    worked(jobs, perform)
    until(lambda: not jobs.queue())
    assert job.tasks["read"].error == "the process that worked on it was killed by SIGSEGV"
    assert len(job.tasks["read"].notes) == MOST_NOTES


def test_what_a_stopped_worker_left_is_removed(jobs):
    job, other = new_job(jobs), new_job(jobs)

    def perform(key):
        owner = jobs.running.job
        (owner.folder / ".preview.999999999.part.mp4").write_bytes(b"half")
        if owner is other:
            jobs.remove(other)
            (owner.folder / "takes").mkdir(parents=True)
        raise ProcessLost("the process that worked on it was killed by SIGKILL")

    worked(jobs, perform)
    until(lambda: jobs.all() == [job] and not jobs.queue() and jobs.running is None and not other.folder.exists())
    assert sorted(path.name for path in job.folder.iterdir()) == ["job.json", "tasks"]


def test_messages_do_not_name_a_folder_of_songs_with_spaces(jobs):
    job = finished_job(jobs)
    job.put(
        Task(key="take-2", kind="own_music", asked=9, arguments={"folder": "/home/ann lee/My songs", "loudness": -16})
    )
    for text, shown in (
        ("/home/ann lee/My songs/a b.mp3: has no sound", "a b.mp3: has no sound"),
        ("/home/ann lee/My songs: no songs", "My songs: no songs"),
    ):
        assert jobs.without_paths(text, job) == shown


def test_a_style_before_the_model_is_loaded_is_told(jobs, client):
    job = finished_job(jobs)
    answer = client.post(f"/api/jobs/{job.id}/takes", json={"style": "house"}, headers=CHANGE)
    assert answer.status_code == 400 and "not known yet" in answer.json["error"]


def test_the_pose_is_sent_in_blocks_with_its_length(jobs, client, monkeypatch):
    monkeypatch.setattr("d2m_model.studio.view.BLOCK", 40)
    answer = client.get(f"/api/jobs/{finished_job(jobs).id}/pose.bin")
    assert answer.content_length == len(answer.data) == 90 * 2 * 17 * 3 * 2


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


def test_the_number_of_a_deleted_take_is_not_given_again_by_a_later_server(jobs, client):
    job = finished_job(jobs)
    (number,) = client.post(f"/api/jobs/{job.id}/takes", json={}, headers=CHANGE).json["numbers"]
    client.delete(f"/api/jobs/{job.id}/takes/{number}", headers=CHANGE)
    later = load_job(job.folder)
    assert number == 2 and later.next_number("take") == 3 and later.next_number("sound") == 1
    for wrong in ([], {"take": -1}, {"take": 10**9}, {"x": 1}, {"take": "1"}):
        (job.folder / "job.json").write_text(
            json.dumps({"format": 1, "name": "x", "video": "video.mp4", "dancer": 0, "numbers": wrong})
        )
        with pytest.raises(UserError, match="job.json is damaged"):
            load_job(job.folder)


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


def test_a_zip_with_a_huge_table_of_contents_is_refused_before_it_is_read(jobs, client, monkeypatch):
    entry = b"PK\1\2" + bytes(42)
    table = entry * 20_000
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 20_000, 20_000, len(table), 0, 0)
    large = b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 20_000, 20_000, len(table), 0)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, len(table), 1)
    small = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, 46, 0, 0)
    monkeypatch.setattr("zipfile.ZipFile._RealGetContents", lambda archive: pytest.fail("it was read"))
    for whole in (table + end, table + large + locator + small):
        answer = client.post("/api/projects", data=whole, headers=CHANGE)
        assert answer.status_code == 400 and "more than 2000 files" in answer.json["error"]


def test_records_of_many_bytes_are_refused(jobs, client, tmp_path, monkeypatch):
    monkeypatch.setattr("d2m_model.studio.project_file.MOST_RECORDS", 1000)
    job = finished_job(jobs)
    answer = client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE)
    assert answer.status_code == 400 and "records are too large" in answer.json["error"]


# Words


def test_a_file_that_the_parameters_name_as_style_is_shown_without_its_folder(jobs, client, tmp_path):
    job = finished_job(jobs)
    job.tasks["take-1"].arguments["style"] = "/home/ann/songs/a.wav"
    (take,) = client.get(f"/api/jobs/{job.id}").json["takes"]
    assert (take["style"], take["style_name"]) == ("a.wav", "a.wav")
    answer = client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE)
    assert jobs.get(answer.json["id"]).tasks["take-1"].arguments["style"] == "a.wav"


def test_a_job_without_takes_does_not_wait(jobs, client):
    job = finished_job(jobs)
    client.delete(f"/api/jobs/{job.id}/takes/1", headers=CHANGE)
    view = client.get(f"/api/jobs/{job.id}").json
    assert not view["busy"] and (view["steps"]["music"]["state"], view["steps"]["music"]["found"]) == (
        "done",
        "no take",
    )


def test_a_host_that_is_no_name_is_told_in_a_line():
    with pytest.raises(UserError, match="can't serve on a..b:0"):
        _bind("a..b", 0)
