"""The studio's server takes no more than it should: whose requests, which names, how large, which values."""

import json

import numpy as np
import pytest

from d2m_model.studio.job import Task
from d2m_model.studio.jobs import Jobs
from d2m_model.studio.params import Params
from tests.d2m_model.studio.conftest import CHANGE, TOKEN, client_of, finished_job, project_of

# Whose request


def test_nothing_is_shown_without_the_cookie_that_the_printed_address_sets(jobs):
    job = finished_job(jobs)
    stranger = client_of(jobs, cookie=False)
    for path in (
        "/api/state",
        f"/api/jobs/{job.id}",
        f"/api/jobs/{job.id}/preview.mp4",
        "/static/main.js",
        f"/api/jobs/{job.id}/sound/1",
    ):
        assert stranger.get(path).status_code == 401, path
    locked = stranger.get("/")
    assert locked.status_code == 401 and "terminal" in locked.get_data(as_text=True)
    assert stranger.get("/?token=" + "x" * 40).status_code == 401
    assert stranger.get("/?token=%ff%fe").status_code == 401
    entered = stranger.get(f"/?token={TOKEN}")
    cookie = entered.headers["Set-Cookie"]
    assert entered.status_code == 303 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert stranger.get("/api/state").status_code == 200 and TOKEN not in stranger.get("/").get_data(as_text=True)


@pytest.mark.parametrize("other", ["x=\xfc", 'x="\xff\xfe"', "x=\xc3\xbc", "x"])
def test_a_cookie_of_another_program_of_this_machine_is_no_hindrance(jobs, other):
    """Browsers send a host's cookies to all of its ports, in any encoding."""
    application = client_of(jobs).application
    application.config["PROPAGATE_EXCEPTIONS"] = False
    client = application.test_client(use_cookies=False)
    for cookies, status in ((f"{other}; studio-8322={TOKEN}", 200), (f"studio-8322={TOKEN}; {other}", 200), (f"{other}; studio-8322=\xfc", 401)):  # fmt: skip
        environ = {"HTTP_COOKIE": cookies}
        assert client.get("/api/state", environ_overrides=environ).status_code == status, cookies


def test_a_change_needs_the_header_that_no_other_site_can_send(jobs, client):
    job = finished_job(jobs)
    for method, path in (("post", "/api/jobs?name=x.mp4"), ("delete", f"/api/jobs/{job.id}"), ("put", f"/api/jobs/{job.id}/beats"),
                         ("post", f"/api/jobs/{job.id}/takes"), ("post", f"/api/jobs/{job.id}/cancel")):  # fmt: skip
        answer = getattr(client, method)(path, data=b"{}")
        assert answer.status_code == 403 and "studio's page" in answer.json["error"], path
    assert [j.id for j in jobs.all()] == [job.id]
    assert client.delete(f"/api/jobs/{job.id}", headers=CHANGE).status_code == 200
    assert jobs.all() == [] and not job.folder.exists()


def test_pages_may_load_nothing_from_elsewhere(client):
    answer = client.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Cache-Control"] == "no-store"


# Values


def test_requests_with_other_values_are_refused_in_a_line(jobs, client):
    job = finished_job(jobs)
    for path, values in (
        ("takes", {"level": "middle"}), ("takes", {"seed": -1}), ("takes", {"seed": 1.5}), ("takes", {"seed": True}), ("takes", {"strictness": 21}),
        ("takes", {"loudness": 1}), ("takes", {"count": 0}), ("takes", {"count": 10**9}), ("takes", {"style": "polka"}), ("takes", {"style": {"sound": 9}}),
        ("takes", {"from": 1}), ("takes", {"redo": [0, 1]}), ("takes", {"from": 1, "redo": [1, 0.5]}), ("takes", {"from": 9, "redo": [0, 1]}),
        ("takes", {"from": 1, "redo": [0, 1], "keep": [0, 1]}), ("takes", {"from": 1, "redo": [0, 1], "level": "low"}), ("takes", {"other": 1}),
        ("takes", [1]), ("own-music", {"folder": 0}), ("own-music", {"folder": "uploaded"}), ("own-music", {"folder": "/etc"}),
        ("exports", {"kind": "video"}), ("exports", {"kind": "wav", "take": 9}), ("exports", {"kind": "../x"}), ("dancer", {"dancer": 2}),
        ("dancer", {"dancer": -1}), ("beats/change", {"operation": "shift", "seconds": 1}), ("beats/change", {"operation": "snap", "beats": [1], "to": "../1"}),
        ("jobs", {}),
    ):  # fmt: skip
        answer = client.post(f"/api/jobs/{job.id}/{path}", json=values, headers=CHANGE)
        assert answer.status_code in (400, 404, 405) and "\n" not in answer.json["error"], (path, values, answer.json)
    for text in (b"{", b"[" * 5000, b'{"seed": 1e999}', b'{"seed": NaN}', b"\xff", b'"\\ud800"'):
        answer = client.post(f"/api/jobs/{job.id}/takes", data=text, headers=CHANGE)
        assert answer.status_code == 400 and "\n" not in answer.json["error"], text[:20]
    for beats in ([-1], [3.5], [float("nan")], "x", [[1]], [None], [True]):
        answer = client.put(f"/api/jobs/{job.id}/beats", data=json.dumps({"beats": beats}), headers=CHANGE)
        assert answer.status_code == 400, beats
    assert (
        set(job.tasks) == {"read", "pose", "rhythm", "take-1"}
        and client.get(f"/api/jobs/{job.id}").json["beats"]["edited"] is False
    )


def test_beats_are_saved_changed_and_reset(jobs, client):
    job = finished_job(jobs)
    change = lambda **values: client.post(f"/api/jobs/{job.id}/beats/change", json=values, headers=CHANGE).json["beats"]
    saved = client.put(f"/api/jobs/{job.id}/beats", json={"beats": [2.0, 1.0], "downbeats": [1.0]}, headers=CHANGE)
    assert (
        saved.json["beats"]["beats"] == [1.0, 2.0]
        and saved.json["beats"]["edited"]
        and saved.json["beats"]["tempo"] == 60
    )
    assert change(operation="double", beats=[1.0, 2.0], downbeats=[1.0])["beats"][:3] == [1.0, 1.5, 2.0]
    assert change(operation="halve", beats=[1.0, 1.5, 2.0], downbeats=[1.0])["beats"] == [1.0, 2.0]
    assert change(operation="tempo", bpm=100, beats=[0.5, 1.1], downbeats=[])["tempo"] == 100
    assert change(operation="shift", seconds=0.25, beats=[1.0, 2.9], downbeats=[])["beats"] == [1.25]
    assert change(operation="snap", to="motion", beats=[0.5, 1.0, 2.0], downbeats=[])["beats"] == [0.52, 1.04, 2.0]
    assert change(operation="snap", to=1, beats=[0.55, 1.0], downbeats=[])["beats"] == [0.5, 1.0]
    view = change(operation="reset", beats=[], downbeats=[])
    assert view["beats"] == [0.5, 1.0, 1.5, 2.0, 2.5] and not view["edited"]


def test_a_take_is_made_for_the_beats_of_the_moment_it_was_asked(jobs, client):
    job = finished_job(jobs)
    client.put(f"/api/jobs/{job.id}/beats", json={"beats": [1.0, 2.0]}, headers=CHANGE)
    numbers = client.post(f"/api/jobs/{job.id}/takes", json={"seed": 5, "count": 2}, headers=CHANGE).json["numbers"]
    client.put(f"/api/jobs/{job.id}/beats", json={"beats": [0.25]}, headers=CHANGE)
    assert numbers == [2, 3] and [job.tasks[f"take-{n}"].arguments["seed"] for n in numbers] == [5, 6]
    for number in numbers:
        assert json.loads((job.folder / f"takes/{number}.beats.json").read_text())["beats"] == [1.0, 2.0]
    assert client.delete(f"/api/jobs/{job.id}/takes/2", headers=CHANGE).status_code == 200
    assert not list((job.folder / "takes").glob("2.*")) and job.next_number("take") == 4


def test_a_take_is_old_once_the_beats_have_changed(jobs, client):
    job = finished_job(jobs)
    old = lambda: client.get(f"/api/jobs/{job.id}").json["takes"][0]["old"]
    put = lambda beats: client.put(
        f"/api/jobs/{job.id}/beats", json={"beats": beats, "downbeats": [0.5]}, headers=CHANGE
    )
    assert not old()
    put([0.5, 1.0, 1.5, 2.0, 2.6])
    assert old()
    client.post(f"/api/jobs/{job.id}/beats/change", json={"operation": "reset"} | {"beats": []}, headers=CHANGE)
    assert not old()


def test_what_is_not_there_is_not_found(jobs, client):
    job = finished_job(jobs)
    for path in ("/api/jobs/0000000000000000", f"/api/jobs/{job.id}/sound/original", f"/api/jobs/{job.id}/sound/7", f"/api/jobs/{job.id}/sound/%2e%2e%2fjob",
                 f"/api/jobs/{job.id}/exports/take-1.wav", f"/api/jobs/{job.id}/exports/job.json", f"/api/jobs/..%2f{job.id}", "/static/../web.py"):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 404 and str(jobs.folder) not in answer.get_data(as_text=True), path
    part = client.get(f"/api/jobs/{job.id}/sound/1", headers={"Range": "bytes=0-99"})
    assert part.status_code == 206 and len(part.data) == 100


def test_messages_name_no_path_of_this_machine(jobs):
    job = finished_job(jobs)
    for text, shown in (
        (f"{job.folder}/video.mp4: not a readable video", "My dance.mp4: not a readable video"),
        (f"{jobs.layout.root.resolve()}/runs/tiny/rhythm/model.pt: no rhythm", "runs/tiny/rhythm/model.pt: no rhythm"),
        ("'/home/ann/songs/a.mp3' is silent", "'a.mp3' is silent"),
        ("3 / 4 beats, see http://x/y", "3 / 4 beats, see http://x/y"),
    ):
        assert jobs.without_paths(text, job) == shown


def test_the_pose_for_the_overlay_is_in_tenths_of_a_pixel(jobs, client):
    job = finished_job(jobs)
    values = np.frombuffer(client.get(f"/api/jobs/{job.id}/pose.bin").data, "<i2").reshape(90, 2, 17, 3)
    assert (values == [5, 5, 500]).all() and client.get(f"/api/jobs/{job.id}").json["pose"]["edges"]


# Jobs on disk


def test_a_new_server_finds_the_jobs_and_goes_on_with_what_waited(jobs, client):
    job = finished_job(jobs)
    client.post(f"/api/jobs/{job.id}/takes", json={"seed": 5}, headers=CHANGE)
    (jobs.folder / "0123456789abcdef").mkdir()  # an upload that a killed server did not finish
    (job.folder / "takes" / ".2.999999.part.wav").write_bytes(b"half")
    broken = jobs.folder / "fedcba9876543210"
    broken.mkdir()
    (broken / "job.json").write_text('{"format": 1, "name": 3}')
    later = Jobs(jobs.layout, Params())
    later.load()
    assert [j.id for j in later.all()] == [job.id] and [t.key for _, t in later.queue()] == ["take-2"]
    assert (
        not (jobs.folder / "0123456789abcdef").exists()
        and not list((job.folder / "takes").glob(".*"))
        and broken.exists()
    )


def test_after_a_failed_step_nothing_waits_and_again_asks_for_all_of_it(jobs):
    job = jobs.new("x.mp4", ".mp4")
    jobs.add(job, {"level": "high"})
    jobs.cancel(job)
    assert {t.state for t in job.tasks.values()} == {"cancelled"} and jobs.queue() == []
    assert jobs.again(job) and [t.key for _, t in jobs.queue()] == ["read", "pose", "rhythm", "take-1"]
    assert not jobs.again(job)


def test_a_project_opens_again_with_everything(jobs, client, tmp_path):
    job = finished_job(jobs)
    client.put(f"/api/jobs/{job.id}/beats", json={"beats": [1.0, 2.0]}, headers=CHANGE)
    project = project_of(job, tmp_path)
    files = lambda folder: {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    kept, view = files(job.folder), client.get(f"/api/jobs/{job.id}").json
    jobs.remove(job)  # beside it, the opened one would have a name of its own
    answer = client.post("/api/projects?name=x.zip", data=project, headers=CHANGE)
    assert answer.status_code == 201, answer.json
    other = jobs.get(answer.json["id"])
    assert files(other.folder) == kept and other.id != job.id
    same = ("name", "beats", "takes", "video", "dancers", "steps")
    again = client.get(f"/api/jobs/{other.id}").json
    assert all(again[name] == view[name] for name in same) and not again["busy"]


@pytest.mark.parametrize("changes", [
    {"../x": b""}, {"/etc/x": b""}, {"takes/../x.wav": b""}, {"C:\\x": b""}, {"token": b"x"}, {"pose.npy": None}, {"beats.json": None}, {"video.mp4": None},
    {"takes/1.wav": None}, {"tasks/read.json": None}, {"job.json": None}, {"job.json": b"{"}, {"job.json": b'{"format": 1, "name": "x", "video": "../v.mp4", "dancer": 0}'},
    {"job.json": b'{"format": 1, "name": "x", "video": "video.mp4", "dancer": 7}'}, {"pose.npy": b"\x80\x04cos\nsystem\n"}, {"tasks/pose.json": b"[]"},
    {"songs/1.mp3": bytes(3 << 20)},
])  # fmt: skip
def test_a_file_that_is_no_project_is_refused_and_leaves_nothing(jobs, client, tmp_path, changes):
    job = finished_job(jobs)
    answer = client.post("/api/projects", data=project_of(job, tmp_path, changes), headers=CHANGE)
    assert answer.status_code == 400 and "\n" not in answer.json["error"] and str(tmp_path) not in answer.json["error"]
    assert [j.id for j in jobs.all()] == [job.id] and [p.name for p in jobs.folder.iterdir()] == [job.id]


def test_no_zip_at_all_and_a_task_with_foreign_results_are_refused(jobs, client, tmp_path):
    job = finished_job(jobs)
    whole = project_of(job, tmp_path)
    for body in (b"PK\x03\x04 no", whole[: len(whole) // 2], b"x"):
        assert client.post("/api/projects", data=body, headers=CHANGE).status_code == 400
    task = json.loads((job.folder / "tasks/read.json").read_text())
    for name, value in (("frames", -1), ("frames", 1e9), ("begin", "x"), ("width", None), ("sound", True)):
        changed = json.dumps(task | {"result": task["result"] | {name: value}})
        answer = client.post(
            "/api/projects", data=project_of(job, tmp_path, {"tasks/read.json": changed}), headers=CHANGE
        )
        assert answer.status_code == 400, (name, value)
    assert len(jobs.all()) == 1


def test_an_export_is_an_attachment_with_the_jobs_name(jobs, client):
    job = finished_job(jobs)
    name = client.post(f"/api/jobs/{job.id}/exports", json={"kind": "wav", "take": 1}, headers=CHANGE).json["name"]
    assert name == "take-1.wav" and client.get(f"/api/jobs/{job.id}/exports/{name}").status_code == 404, "it waits"
    (job.folder / "exports").mkdir()
    (job.folder / "exports" / name).write_bytes(b"RIFF")
    job.put(Task(key=name, kind="export", asked=9, state="done", arguments={"take": 1}, result={"found": ""}))
    answer = client.get(f"/api/jobs/{job.id}/exports/{name}")
    assert answer.data == b"RIFF" and "My dance - take 1.wav" in answer.headers["Content-Disposition"]


def test_files_are_named_after_what_they_are(jobs, client):
    job = finished_job(jobs)
    for kind, end in (
        ("video", "take 1.mp4"),
        ("beats", "beats.json"),
        ("click", "click track.wav"),
        ("project", "project.d2m.zip"),
    ):
        client.post(f"/api/jobs/{job.id}/exports", json={"kind": kind, "take": 1}, headers=CHANGE)
        assert client.get(f"/api/jobs/{job.id}").json["exports"][-1]["file"] == f"My dance - {end}"
    mixed = client.post(f"/api/jobs/{job.id}/exports", json={"kind": "wav", "take": 1, "mix": 0.5}, headers=CHANGE)
    assert mixed.status_code == 400 and "into a video only" in mixed.json["error"]


def test_a_take_that_is_deleted_takes_what_waits_for_it_along(jobs, client):
    job = finished_job(jobs)
    client.post(f"/api/jobs/{job.id}/takes", json={"from": 1, "redo": [1, 2]}, headers=CHANGE)
    client.delete(f"/api/jobs/{job.id}/takes/1", headers=CHANGE)
    assert job.tasks["take-2"].state == "cancelled"


def test_the_same_video_is_one_job(jobs, tmp_path):
    from d2m_model.studio.stage import add_video

    job = finished_job(jobs)
    (tmp_path / "My dance.mp4").write_bytes((job.folder / "video.mp4").read_bytes())
    assert add_video(jobs, tmp_path / "My dance.mp4") == job.id
    (tmp_path / "My dance.mp4").write_bytes(b"another")
    assert add_video(jobs, tmp_path / "My dance.mp4") != job.id
