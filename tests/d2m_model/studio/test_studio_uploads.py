"""What a person sends to the studio: stored whole, under names of its own, or refused; and what the page is made of."""

import hashlib
import io
import re
import threading
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from d2m_model.studio.job import shown_name
from tests.d2m_model.studio.conftest import CHANGE, client_of, finished_job


def test_what_others_wrote_is_in_the_page_as_they_published_it():
    folder = files("d2m_model.studio") / "static" / "vendor" / "wavesurfer"
    stated = dict(
        re.findall(r"^\| (\S+) \| package/\S+ \| ([0-9a-f]{64}) \|$", (folder / "README.md").read_text(), re.M)
    )
    found = {p.relative_to(folder).as_posix(): p for p in Path(str(folder)).rglob("*") if p.is_file()}
    assert set(stated) == set(found) - {"README.md"} and "LICENSE" in stated
    assert {name: hashlib.sha256(found[name].read_bytes()).hexdigest() for name in stated} == stated


def test_an_upload_is_stored_whole_under_a_name_of_the_studios(jobs, client):
    body = np.random.default_rng(0).bytes(900_000)
    answer = client.post("/api/jobs?name=../../etc/My%20d%C3%A4nce%0A.MP4", data=body, headers=CHANGE)
    assert answer.status_code == 201
    job = jobs.get(answer.json["id"])
    assert job.name == "My dänce.MP4" and job.video == "video.mp4" and (job.folder / "video.mp4").read_bytes() == body
    assert job.folder.parent == jobs.folder and sorted(p.name for p in job.folder.iterdir()) == [
        "job.json",
        "tasks",
        "video.mp4",
    ]
    view = client.get(f"/api/jobs/{job.id}").json
    assert view["busy"] and view["steps"]["read"]["state"] == "waiting" and view["steps"]["pose"]["ahead"] == 1
    assert [line["what"] for line in client.get("/api/state").json["queue"]] == ["read", "pose", "rhythm", "music"]


def test_too_large_and_empty_uploads_leave_nothing(jobs, client):
    large = client.post("/api/jobs?name=x.mp4", data=bytes((1 << 20) + 1), headers=CHANGE)
    assert large.status_code == 413 and "1 MiB" in large.json["error"]
    streamed = client.post(
        "/api/jobs?name=x.mp4",
        input_stream=io.BytesIO(bytes(3 << 20)),
        headers=CHANGE,
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert streamed.status_code == 413
    assert client.post("/api/jobs?name=x.mp4", data=b"", headers=CHANGE).status_code == 400
    assert jobs.all() == [] and not [p for p in jobs.folder.iterdir() if p.is_dir()]


@pytest.mark.parametrize(
    "name, shown",
    [("a/b\\c.mp4", "c.mp4"), ("", "dance"), ("..", ".."), ("x\x00\u202ey", "xy"), ("n" * 500, "n" * 120)],
)
def test_names_are_only_shown(name, shown):
    assert shown_name(name) == shown


def test_two_sounds_that_arrive_together_get_two_numbers(jobs, client):
    job = finished_job(jobs)
    numbers = []
    send = lambda: numbers.append(
        client_of(jobs)
        .post(f"/api/jobs/{job.id}/sounds?name=a.mp3&kind=song", data=b"x", headers=CHANGE)
        .json["number"]
    )
    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4] and len(list((job.folder / "songs").iterdir())) == 4
    assert client.post(f"/api/jobs/{job.id}/sounds?name=a.exe&kind=song", data=b"x", headers=CHANGE).status_code == 400
