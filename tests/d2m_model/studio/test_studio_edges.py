"""The studio where values are at their ends: beats, numbers, sounds, records on disk, names."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from d2m_model.generate.finish import write_wav
from d2m_model.metrics.motion_beats import motion_beats
from d2m_model.rhythm.beats_file import Beats, read_beats, write_beats
from d2m_model.studio import work, work_music, work_video
from d2m_model.studio.drawing import write_motion
from d2m_model.studio.job import MOST_NUMBER, Task, load_job
from d2m_model.studio.serving import _bind
from d2m_model.studio.work_music import with_given_names
from d2m_model.studio.work_task import Work
from dataset_tools.lib.core.array_file import write_npy
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from tests.d2m_model.studio.conftest import CHANGE, finished_job, project_of


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


def test_where_nobody_moves_there_is_no_motion_to_snap_to(jobs, client):
    job = finished_job(jobs)
    (job.folder / "motion.json").write_text('{"kinematic": []}')
    values = {"operation": "snap", "beats": [1.0], "to": "motion"}
    answer = client.post(f"/api/jobs/{job.id}/beats/change", json=values, headers=CHANGE)
    assert answer.status_code == 400 and answer.json["error"].startswith("the motion has no moment to snap to")


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (0, "nobody was found: a rhythm of its own, 5 beats, 120 a minute"),
        (9, "5 beats, 120 a minute, most like pop, from the 10% of the frames in which the dancer was seen"),
        (90, "5 beats, 120 a minute, most like pop"),
    ],
)
def test_a_rhythm_that_follows_nobody_or_few_frames_says_so(jobs, client, monkeypatch, frames, found):
    job = finished_job(jobs)
    pose = np.full((90, 1, 17, 3), 0.5, np.float32)
    pose[frames:, ..., 2] = 0
    write_npy(job.folder / "pose.npy", pose)
    beats = replace(read_beats(job.found_beats), style={"pop": 1.0})
    monkeypatch.setattr(work_video, "rhythm_model", lambda layout: SimpleNamespace(beats_of=lambda dancer: beats))
    result = work.FUNCTIONS["rhythm"](Work(job, job.tasks["rhythm"], jobs.layout, jobs.params))
    job.put(replace(job.tasks["rhythm"], result=result))
    told = client.get(f"/api/jobs/{job.id}").json
    step = told["steps"]["rhythm"]
    assert (step["found"], step["doubt"], told["beats"]["invented"]) == (found, frames < 90, not frames)
    assert ("the first tap removes all invented beats" in step["advice"]) == (not frames)
    assert ("Hear the beats with Click" in step["advice"]) == (frames == 9)
    client.put(f"/api/jobs/{job.id}/beats", json={"beats": [1.0], "downbeats": []}, headers=CHANGE)
    assert not client.get(f"/api/jobs/{job.id}").json["beats"]["invented"], "tapped beats are not"


def test_a_part_up_to_the_end_is_made_anew_up_to_the_last_sample(jobs, monkeypatch):
    job, frames, made = finished_job(jobs), 91, []
    job.tasks["read"].result |= {"frames": frames, "seconds": frames / FPS}  # no number of four digits
    write_wav(job.take(1), np.zeros(frames * SAMPLES_PER_FRAME, np.float32))
    monkeypatch.setattr(work_music, "prior_of", lambda *_: SimpleNamespace(check=lambda params: None))
    monkeypatch.setattr(work_music.Again, "made", lambda again, *_: made.extend(again.regions()))
    monkeypatch.setattr(work_music, "_finished", lambda *_: {})
    part = job.tasks["take-1"].arguments | {"from": 1, "redo": [1.0, frames / FPS]}
    work_music.make_take(Work(job, Task(key="take-2", kind="take", asked=9, arguments=part), jobs.layout, jobs.params))
    assert [[round(time * SAMPLE_RATE) for time in region] for region in made] == [[22050, frames * SAMPLES_PER_FRAME]]


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


# Words


def test_a_file_that_the_parameters_name_as_style_is_shown_without_its_folder(jobs, client, tmp_path):
    job = finished_job(jobs)
    job.tasks["take-1"].arguments["style"] = "/home/ann/songs/a.wav"
    (take,) = client.get(f"/api/jobs/{job.id}").json["takes"]
    assert (take["style"], take["style_name"]) == ("a.wav", "a.wav")
    answer = client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE)
    assert jobs.get(answer.json["id"]).tasks["take-1"].arguments["style"] == "a.wav"


def test_a_take_has_the_name_that_the_person_gives_it(jobs, client, tmp_path):
    job = finished_job(jobs)
    name = lambda number, text: client.put(
        f"/api/jobs/{job.id}/takes/{number}/name", json={"name": text}, headers=CHANGE
    )
    view = lambda found: client.get(f"/api/jobs/{found.id}").json
    assert view(job)["takes"][0]["name"] == "" and view(job)["takes"][0]["file"] == "My dance - take 1.wav"
    assert name(1, " A/B: the\u202e <slow>\n one?").status_code == 200
    (take,) = view(job)["takes"]
    assert (take["name"], take["file"]) == ("A/B: the <slow> one?", "My dance - take 1 - A B the slow one.wav")
    for kind, file in (("wav", take["file"]), ("video", "My dance - take 1 - A B the slow one.mp4")):
        client.post(f"/api/jobs/{job.id}/exports", json={"kind": kind, "take": 1}, headers=CHANGE)
        assert view(job)["exports"][-1]["file"] == file
    jobs.cancel(job)
    assert load_job(job.folder).names == {1: take["name"]}
    opened = client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE).json["id"]
    assert view(jobs.get(opened))["takes"][0]["name"] == take["name"]
    for number, text in ((7, "x"), ("1.mp4", "x"), (1, "x" * 2000), (1, 3)):
        assert name(number, text).status_code in (400, 404), number
    assert name(1, "x" * 500).status_code == 200 and len(view(job)["takes"][0]["name"]) == 60
    name(1, "")
    assert view(job)["takes"][0]["file"] == "My dance - take 1.wav"
    name(1, "kept")
    client.delete(f"/api/jobs/{job.id}/takes/1", headers=CHANGE)
    assert load_job(job.folder).names == {}
    for wrong in ([], {"0": "x"}, {"x": "y"}, {"1": 3}):
        record = {"format": 1, "name": "x", "video": "video.mp4", "dancer": 0, "names": wrong}
        (job.folder / "job.json").write_text(json.dumps(record))
        with pytest.raises(UserError, match="job.json is damaged"):
            load_job(job.folder)


def test_music_of_ones_own_is_shown_with_the_name_of_its_song(jobs, client, tmp_path):
    job = finished_job(jobs)
    task = job.tasks["take-1"]
    for song in ("", "My song.flac"):
        result = task.result | ({"song": song} if song else {})
        made = {
            "kind": "own_music",
            "arguments": {"folder": None, "loudness": -16.0},
            "state": "done",
            "result": result,
        }
        job.put(Task(key="take-1", asked=9, **made))
        assert client.get(f"/api/jobs/{job.id}").json["takes"][0]["style_name"] == song
        assert client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE).status_code == 201


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


def test_songs_are_called_as_the_person_calls_them():
    names = {"1.mp3": "2.mp3", "2.mp3": r"b c\1.mp3"}
    for text, shown in (
        ("left out: 1.mp3: no audio", "left out: 2.mp3: no audio"),
        ("songs/2.mp3: has no audio; 11.mp3", r"b c\1.mp3: has no audio; 11.mp3"),
    ):
        assert with_given_names(text, names) == shown
