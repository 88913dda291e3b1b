"""The studio's queue: the order of its tasks, and what requests, a full disk and the end of a server do to it meanwhile."""

import errno
import threading
import time

import pytest

from d2m_model.studio.job import MOST_NOTES, Task, load_job
from d2m_model.studio.jobs import Jobs, Unknown
from d2m_model.studio.takes import first_take
from dataset_tools.lib.parallel.worker_process import ProcessLost
from tests.d2m_model.studio.conftest import CHANGE, finished_job
from tests.helpers.within import until


class Worker:
    """In place of the worker process: calls perform(key) in the queue's thread."""

    def __init__(self, perform):
        self.perform, self.done = perform, []

    def call(self, function, *arguments, wanted=lambda: True, on_message=lambda what: None, **limits):
        if function.__name__ == "warm_up":
            return {"styles": []}
        self.on_message = on_message
        self.done.append(arguments[1])
        return self.perform(arguments[1]) or {"found": ""}

    def stop(self):
        pass


def worked(jobs, perform):
    """Start the queue with this worker."""
    jobs._process = Worker(perform)
    jobs.start()
    return jobs._process


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
    until(20, lambda: not jobs.queue())
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


def test_again_makes_all_takes_that_were_lost_or_one_and_first_the_steps(jobs, client):
    job = finished_job(jobs)
    for key, state in (("take-2", "cancelled"), ("take-3", "failed")):
        job.put(Task(key=key, kind="take", asked=10, state=state, arguments=job.tasks["take-1"].arguments))
    answer = client.post(f"/api/jobs/{job.id}/again", json={"number": 2}, headers=CHANGE)
    assert answer.status_code == 202 and [task.key for _, task in jobs.queue()] == ["take-2"]
    assert client.post(f"/api/jobs/{job.id}/again", json={"number": 1}, headers=CHANGE).status_code == 400
    jobs.cancel(job)
    assert client.post(f"/api/jobs/{job.id}/again", headers=CHANGE).status_code == 202
    assert sorted(task.key for _, task in jobs.queue()) == ["take-2", "take-3"]
    jobs.cancel(job)
    part = job.tasks["take-1"].arguments | {"from": 7, "redo": [0.0, 1.0]}
    job.put(Task(key="take-4", kind="take", asked=11, state="cancelled", arguments=part))
    answer = client.post(f"/api/jobs/{job.id}/again", json={"number": 4}, headers=CHANGE)
    assert answer.status_code == 400 and "was deleted" in answer.json["error"] and not jobs.queue()
    assert jobs.again(job) and sorted(task.key for _, task in jobs.queue()) == ["take-2", "take-3"]
    jobs.cancel(job)
    job.put(Task(key="rhythm", kind="rhythm", asked=99, state="failed"))
    assert jobs.again(job) and [task.key for _, task in jobs.queue()][0] == "rhythm"


def test_a_job_is_busy_until_what_was_cancelled_has_stopped(jobs, client):
    job, running, gate = new_job(jobs), threading.Event(), threading.Event()

    def perform(key):
        running.set()
        gate.wait(20)
        raise ProcessLost("it was stopped")

    worked(jobs, perform)
    assert running.wait(20)
    client.post(f"/api/jobs/{job.id}/cancel", json={"what": "all"}, headers=CHANGE)
    told = client.get(f"/api/jobs/{job.id}").json
    assert told["busy"] and client.get("/api/state").json["jobs"][0]["busy"]
    assert (told["steps"]["read"]["state"], told["steps"]["read"]["stopping"]) == ("running", True)
    assert (told["steps"]["pose"]["state"], told["steps"]["pose"]["stopping"]) == ("cancelled", False)
    gate.set()
    until(20, lambda: not client.get(f"/api/jobs/{job.id}").json["busy"])
    assert client.get(f"/api/jobs/{job.id}").json["steps"]["read"]["state"] == "cancelled"


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
    until(20, lambda: not jobs.queue())
    assert {task.state for task in job.tasks.values()} == {"done"}
    assert "make room" in job.tasks["read"].error and str(jobs.folder) not in job.tasks["read"].error
    assert [task.key for task in load_job(job.folder).tasks.values() if task.state == "waiting"] == ["read"]


def test_a_server_that_ends_leaves_the_task_that_runs_to_the_next_one(jobs):
    job = new_job(jobs)

    def perform(key):
        jobs.stop()  # then this process ends, and its worker with it
        raise ProcessLost("the process that worked on it was killed by SIGKILL")

    worked(jobs, perform)
    until(20, lambda: jobs._process.done)
    time.sleep(0.1)
    assert {task.state for task in load_job(job.folder).tasks.values()} == {"waiting"}
    assert jobs._process.done == ["read"]


def test_a_lost_process_is_told_once_and_of_many_notes_some_are_kept(jobs):
    job = new_job(jobs)

    def perform(key):
        for number in range(300):
            jobs._process.on_message(("note", f"{number}: left out"))
        raise ProcessLost("the process that worked on it was killed by SIGSEGV")

    worked(jobs, perform)
    until(20, lambda: not jobs.queue())
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
    until(20, lambda: jobs.all() == [job] and not jobs.queue() and jobs.running is None and not other.folder.exists())
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


def test_messages_do_not_name_the_folder_of_the_style_of_the_parameters(jobs):
    job = finished_job(jobs)
    job.tasks["take-1"].arguments["style"] = "/home/ann lee/My songs/a b.wav"
    assert jobs.without_paths("/home/ann lee/My songs/a b.wav: file not found", job) == "a b.wav: file not found"


def test_a_style_before_the_model_is_loaded_is_told(jobs, client):
    job = finished_job(jobs)
    answer = client.post(f"/api/jobs/{job.id}/takes", json={"style": "house"}, headers=CHANGE)
    assert answer.status_code == 400 and "not known yet" in answer.json["error"]


def test_the_pose_is_sent_in_blocks_with_its_length(jobs, client, monkeypatch):
    monkeypatch.setattr("d2m_model.studio.view.BLOCK", 40)
    answer = client.get(f"/api/jobs/{finished_job(jobs).id}/pose.bin")
    assert answer.content_length == len(answer.data) == 90 * 2 * 17 * 3 * 2


def test_a_terminal_that_was_closed_does_not_stop_the_queue(jobs, monkeypatch):
    job, other = new_job(jobs), new_job(jobs)

    def closed(stage, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def perform(key):
        if jobs.running.job is job:
            raise ProcessLost("the process that worked on it was killed by SIGSEGV")

    monkeypatch.setattr("d2m_model.studio.jobs.say", closed)
    worked(jobs, perform)
    until(20, lambda: not jobs.queue() and jobs.running is None)
    assert job.tasks["read"].state == "failed" and other.tasks["take-1"].state == "done"


def test_a_message_of_the_worker_waits_while_a_request_changes_the_job(jobs):
    """Or it would read the tasks while their number changes, which fails."""
    job, shown = finished_job(jobs), []
    with jobs.lock:
        reader = threading.Thread(target=lambda: shown.append(jobs.without_paths("x", job)))
        reader.start()
        reader.join(0.2)
        assert shown == []
    reader.join(20)
    assert shown == ["x"]


def test_files_of_takes_and_songs_that_are_not_there_are_removed_by_the_next_server(jobs):
    """As after a server was killed while it deleted or received one."""
    job = finished_job(jobs)
    job.put(Task(key="sound-1", kind="sound", asked=9, state="done", arguments={"file": "songs/1.mp3", "name": "a.mp3", "use": "song"}))  # fmt: skip
    for name in ("songs/1.mp3", "songs/2.mp3", "sounds/given-3.flac", "sounds/3.wav", "takes/2.wav", "takes/2.beats.json", "takes/12.json"):  # fmt: skip
        (job.folder / name).parent.mkdir(exist_ok=True)
        (job.folder / name).write_bytes(b"x")
    later = Jobs(jobs.layout, jobs.params)
    later.load()
    left = {p.relative_to(job.folder).as_posix() for place in ("songs", "sounds", "takes") for p in (job.folder / place).iterdir()}  # fmt: skip
    assert left == {"songs/1.mp3", "takes/1.wav", "takes/1.json", "takes/1.beats.json"}


def test_on_a_full_disk_a_take_can_be_deleted(jobs, client, monkeypatch):
    job = finished_job(jobs)

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("d2m_model.studio.job.write_text", full)
    assert client.delete(f"/api/jobs/{job.id}/takes/1", headers=CHANGE).status_code == 200
    assert "take-1" not in load_job(job.folder).tasks and not job.take(1).exists() and job.next_number("take") == 2
