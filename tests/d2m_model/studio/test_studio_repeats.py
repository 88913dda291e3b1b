"""The studio: what is asked for twice, and where trying again can help."""

import pytest

from d2m_model.studio.job import Task
from d2m_model.studio.takes import first_take
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.worker_process import ProcessLost
from tests.d2m_model.studio.conftest import CHANGE, finished_job
from tests.d2m_model.studio.test_studio_queue import worked
from tests.helpers.within import until


def test_no_take_is_made_twice(jobs, client):
    job = finished_job(jobs)

    def ask(**values):
        return client.post(f"/api/jobs/{job.id}/takes", json=values, headers=CHANGE).json

    assert ask(seed=5) == {"numbers": [2], "seeds": [5], "same": None}
    assert ask(seed=5) == {"numbers": [3], "seeds": [6], "same": 2}
    assert ask(seed=4, count=3) == {"numbers": [4, 5, 6], "seeds": [4, 7, 8], "same": None}
    assert ask(seed=0)["same"] == 1, "the first take"
    for other in ({"level": "low"}, {"strictness": 2.0}, {"loudness": -20.0}):
        assert ask(seed=5, **other) | {"numbers": []} == {"numbers": [], "seeds": [5], "same": None}
    jobs.cancel(job, {"take-2"})
    assert ask(seed=5)["seeds"] == [5], "a take that was cancelled is no music"
    client.put(f"/api/jobs/{job.id}/beats", json={"beats": [1.0, 2.0]}, headers=CHANGE)
    assert ask(seed=5)["seeds"] == [5], "other beats"


def test_the_same_songs_are_not_fitted_twice(jobs, client):
    job = finished_job(jobs)

    def song(number, name, asked):
        file = {"file": f"songs/{number}.wav", "name": name, "use": "song"}
        job.put(Task(key=f"sound-{number}", kind="sound", asked=asked, state="done", arguments=file))

    def fit(loudness=-16.0):
        return client.post(
            f"/api/jobs/{job.id}/own-music", json={"folder": "uploaded", "loudness": loudness}, headers=CHANGE
        )

    song(1, "a.wav", 10)
    assert fit().json["numbers"] == [2]
    job.tasks["take-2"].state, job.tasks["take-2"].result = "done", {"song": "a.wav"}
    answer = fit()
    assert answer.status_code == 400 and answer.json["error"].startswith("take 2 is this already")
    assert fit(-20.0).status_code == 202
    song(2, "b.wav", 1 << 62)
    assert fit().status_code == 202, "another song came since"


@pytest.mark.parametrize(
    ("error", "hopeless"),
    [
        (UserError("x.mp4: not a readable video"), True),
        (OSError(28, "No space left on device"), False),
        (ProcessLost("the process that worked on it was killed by SIGKILL"), False),
    ],
)
def test_after_a_failed_read_the_rest_is_not_done_and_only_what_passes_is_tried_again(jobs, client, error, hopeless):
    job = jobs.new("x.mp4", ".mp4")
    jobs.add(job, first_take(jobs))

    def perform(key):
        raise error

    worked(jobs, perform)
    until(20, lambda: not jobs.queue() and jobs.running is None)
    view = client.get(f"/api/jobs/{job.id}").json
    states = {name: step["state"] for name, step in view["steps"].items()}
    assert states == {"read": "failed", "pose": "not done", "rhythm": "not done", "music": "not done"}
    assert view["takes"][0]["state"] == "not done" and view["hopeless"] is hopeless
    (line,) = client.get("/api/state").json["jobs"]
    assert line["failed"] and not line["takes"]


def test_what_a_person_cancels_is_cancelled(jobs, client):
    job = jobs.new("x.mp4", ".mp4")
    jobs.add(job, first_take(jobs))
    jobs.cancel(job)
    view = client.get(f"/api/jobs/{job.id}").json
    assert {step["state"] for step in view["steps"].values()} == {"cancelled"} and not view["hopeless"]
    (line,) = client.get("/api/state").json["jobs"]
    assert not line["failed"]


def test_a_job_with_music_has_not_failed_because_of_one_take(jobs, client):
    job = finished_job(jobs)
    job.put(Task(key="take-2", kind="take", asked=9, state="failed", arguments=job.tasks["take-1"].arguments))
    (line,) = client.get("/api/state").json["jobs"]
    assert not line["failed"] and line["takes"] == 1


def test_a_file_that_is_no_project_is_refused_in_plain_words(client):
    answer = client.post("/api/projects", data=b"no zip", headers=CHANGE)
    assert answer.status_code == 400
    assert answer.json["error"] == "not a project of the studio, or a damaged one"
