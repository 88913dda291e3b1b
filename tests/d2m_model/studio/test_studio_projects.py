"""Projects of strangers: records, files and zips that the studio would not write are refused."""

import json
import struct
import zipfile
from dataclasses import replace

import pytest

from d2m_model.studio.job import NAME_LENGTH, Task, load_job, name_beside, shown_name
from d2m_model.studio.jobs import Jobs
from d2m_model.studio.project_file import pack
from d2m_model.studio.work_video import INVENTED
from tests.d2m_model.studio.conftest import CHANGE, finished_job, project_of


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


def test_an_opened_project_has_a_name_of_its_own(jobs, client, tmp_path):
    project = project_of(finished_job(jobs), tmp_path)
    for name in ("My dance (2).mp4", "My dance (3).mp4"):
        made = client.post("/api/projects", data=project, headers=CHANGE).json["id"]
        assert client.get(f"/api/jobs/{made}").json["name"] == name
    project = project_of(jobs.get(made), tmp_path)
    made = client.post("/api/projects", data=project, headers=CHANGE).json["id"]
    assert jobs.get(made).name == "My dance (4).mp4" == load_job(jobs.get(made).folder).name
    jobs.remove(jobs.get(made))
    made = client.post("/api/projects", data=project, headers=CHANGE).json["id"]
    assert jobs.get(made).name == "My dance (4).mp4"


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("dance", "dance (2)"),
        ("a.b c", "a.b c (2)"),
        ("(2)", "(2) (2)"),
        (".mp4", ".mp4 (2)"),
        (f"{'x' * 300}.mp4", None),
    ],
)
def test_names_beside_others(name, beside):
    name = shown_name(name)
    found = name_beside(name, {name})
    assert found == (beside or found) and len(found) <= NAME_LENGTH and found != name
    assert name_beside(name, set()) == name and name_beside(name, {name, found}) not in (name, found)


def test_a_project_with_sounds_opens_and_its_sounds_can_be_removed(jobs, client, tmp_path):
    job = with_sound(finished_job(jobs))
    answer = client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE)
    assert answer.status_code == 201, answer.json
    other = jobs.get(answer.json["id"])
    for number in (1, 2):
        assert client.delete(f"/api/jobs/{other.id}/sounds/{number}", headers=CHANGE).status_code == 200
    left = {p.relative_to(other.folder).as_posix() for p in other.folder.rglob("*")}
    assert not {"songs/1.mp3", "sounds/2.wav", "sounds/given-2.flac"} & left


def test_a_project_of_a_dance_in_which_nobody_was_found_opens_again(jobs, client, tmp_path):
    job = finished_job(jobs)
    nobody = {"found": "nobody was found: a rhythm of its own", "doubt": True, "advice": INVENTED, "invented": True}
    job.put(replace(job.tasks["rhythm"], result=nobody))
    answer = client.post("/api/projects", data=project_of(job, tmp_path), headers=CHANGE)
    assert answer.status_code == 201, answer.json
    view = client.get(f"/api/jobs/{answer.json['id']}").json
    assert view["beats"]["invented"] and view["steps"]["rhythm"]["doubt"]


def test_a_take_that_is_deleted_while_the_project_is_packed_is_not_in_it(jobs, client, tmp_path, monkeypatch):
    job = with_sound(finished_job(jobs))
    folder, known = job.folder, load_job(job.folder)  # as the worker has read it
    write = zipfile.ZipFile.write

    def deletes(archive, path, *more):
        if path == folder / "beats.json":  # the first file
            assert client.delete(f"/api/jobs/{job.id}/takes/1", headers=CHANGE).status_code == 200
        write(archive, path, *more)

    monkeypatch.setattr(zipfile.ZipFile, "write", deletes)
    pack(known, tmp_path / "project.zip")
    answer = client.post("/api/projects", data=(tmp_path / "project.zip").read_bytes(), headers=CHANGE)
    assert answer.status_code == 201, answer.json
    assert set(jobs.get(answer.json["id"]).tasks) == {"read", "pose", "rhythm", "sound-1", "sound-2"}


def test_a_project_that_was_damaged_on_its_way_is_refused_wherever_the_damage_is(jobs, client, tmp_path):
    whole = bytearray(project_of(finished_job(jobs), tmp_path))
    for at in range(60, len(whole), len(whole) // 60):
        damaged = bytes(whole[:at]) + bytes(8) + bytes(whole[at + 8 :])
        assert client.post("/api/projects", data=damaged, headers=CHANGE).status_code in (201, 400), at


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


def test_a_server_that_is_killed_while_it_opens_a_project_leaves_nothing(jobs, client, tmp_path, monkeypatch):
    project = project_of(finished_job(jobs), tmp_path)

    def kill(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("d2m_model.studio.project_file._check", kill)
    monkeypatch.setattr("d2m_model.studio.project_file.discard", lambda folder: None)  # a killed server removes nothing
    with pytest.raises(KeyboardInterrupt):
        client.post("/api/projects", data=project, headers=CHANGE)
    later = Jobs(jobs.layout, jobs.params)
    later.load()
    assert [job.id for job in later.all()] == [job.id for job in jobs.all()]
    assert len([path for path in jobs.folder.iterdir() if path.is_dir()]) == 1
