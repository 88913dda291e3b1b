"""The studio's server with its worker: what it makes is what `generate` makes, and nothing is lost when it is killed."""

import io
import json
import shutil
import time

import numpy as np
import pytest
import soundfile

from d2m_model.generate import __main__ as generate
from d2m_model.studio import __main__ as studio_command
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.midi import read_midi
from tests.helpers.studio_server import Studio, studio_root

RATE = 22050


@pytest.fixture(scope="module")
def root(pipeline, tmp_path_factory):
    return studio_root(pipeline, tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def studio(root):
    found = Studio(root)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def job(studio):
    """A job of the first clip, finished, and with known beats."""
    return studio.job_with_beats()


def sound_of(studio, job, number):
    return studio.read(f"/api/jobs/{job}/sound/{number}")


def take(studio, job, **values):
    (number,) = studio.ask("POST", f"/api/jobs/{job}/takes", values)["numbers"]
    view = studio.finished(job)
    assert view["takes"][-1]["state"] == "done", view["takes"][-1]
    return number


def made(root, *arguments):
    """The bytes that `generate` writes for the job's video with these options."""
    out = root / "made.wav"
    assert generate.main(["--root", str(root), "--corpus", "demo", "--out", str(out), *map(str, arguments)]) == 0
    return out.read_bytes()


def test_music_is_that_of_generate_to_the_byte(root, studio, job, tmp_path):
    folder = root / "runs/demo/studio" / job
    video = folder / "video.mp4"
    assert sound_of(studio, job, 1) == made(root, "--video", video), "the first take"
    beats = json.loads(studio.read(f"/api/jobs/{job}"))["beats"]
    (tmp_path / "b.json").write_text(json.dumps({"beats": beats["beats"], "downbeats": beats["downbeats"]}))
    number = take(studio, job, seed=7, style="house", strictness=1.5, loudness=-20.0)
    options = (
        "--beats",
        folder / f"takes/{number}.beats.json",
        "--seed",
        7,
        "--style",
        "house",
        "--strictness",
        1.5,
        "--loudness",
        -20,
    )
    assert sound_of(studio, job, number) == made(root, "--video", video, *options), (
        "with the person's beats and settings"
    )
    redone = take(
        studio, job, seed=9, **{"from": number, "redo": [1.0, 2.0]}, style="house", strictness=1.5, loudness=-20.0
    )
    again = ("--from", folder / f"takes/{number}.wav", "--redo", "1.0-2.0")
    assert sound_of(studio, job, redone) == made(
        root, "--video", video, *options[:2], "--seed", 9, *options[4:], *again
    )
    first, second = (soundfile.read(io.BytesIO(sound_of(studio, job, n)), dtype="int16")[0] for n in (number, redone))
    outside = np.ones(len(first), bool)
    outside[RATE : 2 * RATE] = False
    assert np.array_equal(first[outside], second[outside]) and not np.array_equal(first, second)


def test_the_page_gets_what_it_draws(studio, job):
    view = studio.job(job)
    video, pose = view["video"], view["pose"]
    drawn = json.loads(studio.read(f"/api/jobs/{job}/peaks/1"))
    assert (
        len(drawn["peaks"]) == round(100 * video["seconds"])
        and max(drawn["peaks"]) <= 1
        and drawn["seconds"] == video["seconds"]
    )
    points = np.frombuffer(studio.read(f"/api/jobs/{job}/pose.bin"), "<i2").reshape(
        video["frames"], pose["people"], pose["joints"], 3
    )
    seen = points[..., 2] > 0
    assert (
        seen.any()
        and (points[seen][:, 0] <= 10 * video["width"]).all()
        and (points[seen][:, 1] <= 10 * video["height"]).all()
    )
    motion = json.loads(studio.read(f"/api/jobs/{job}/motion"))
    assert set(motion) == {"beats", "kinematic"}
    assert [line["name"] for line in studio.ask("GET", "/api/state")["jobs"]]


def test_a_sound_is_imitated_and_songs_are_fitted(root, studio, job, tmp_path):
    times = np.arange(0.2, 20, 0.5)
    song = np.zeros(20 * RATE, np.float32)
    for at in times:
        song[round(at * RATE) : round(at * RATE) + 400] += 0.5 * np.sin(np.arange(400) / 3) * np.linspace(1, 0, 400)
    soundfile.write(tmp_path / "song.flac", song, RATE)
    data = (tmp_path / "song.flac").read_bytes()
    upload = lambda kind: studio.ask("POST", f"/api/jobs/{job}/sounds?name=My%20song.flac&kind={kind}", data=data)[
        "number"
    ]
    style = upload("style")
    view = studio.finished(job)
    assert view["sounds"][-1]["state"] == "done" and view["sounds"][-1]["seconds"] == 20
    number = take(studio, job, seed=1, style={"sound": style})
    assert studio.job(job)["takes"][-1]["style_name"] == "My song.flac"
    folder = root / "runs/demo/studio" / job
    options = ("--beats", folder / f"takes/{number}.beats.json", "--seed", 1, "--style", folder / f"sounds/{style}.wav")
    assert sound_of(studio, job, number) == made(root, "--video", folder / "video.mp4", *options)
    upload("song")
    broken = studio.ask("POST", f"/api/jobs/{job}/sounds?name=x.mp3&kind=song", data=b"no sound at all")["number"]
    studio.finished(job)
    studio.ask("POST", f"/api/jobs/{job}/own-music", {"folder": "uploaded"})
    fitted = studio.finished(job)["takes"][-1]
    assert fitted["state"] == "done" and fitted["told"].startswith("My song.flac from "), fitted
    assert any(note.startswith("warning: left out: x.mp3: not a readable") for note in studio.job(job)["notes"])
    sound = next(s for s in studio.job(job)["sounds"] if s["number"] == broken)
    assert sound["error"].startswith("x.mp3: not a readable audio file")
    assert sound["state"] == "failed" and str(root) not in sound["error"] and "\n" not in sound["error"]
    studio.ask("DELETE", f"/api/jobs/{job}/sounds/{broken}")


def test_exports_and_a_project_that_opens_again(root, studio, job, tmp_path):
    names = {}
    for kind in ("video", "wav", "beats", "midi", "click", "project"):
        names[kind] = studio.ask("POST", f"/api/jobs/{job}/exports", {"kind": kind, "take": 1})["name"]
    view = studio.finished(job)
    assert {e["state"] for e in view["exports"]} == {"done"}, view["exports"]
    files = {}
    for kind, name in names.items():
        files[kind] = tmp_path / name
        files[kind].write_bytes(studio.read(f"/api/jobs/{job}/exports/{name}"))
    assert files["wav"].read_bytes() == sound_of(studio, job, 1)
    beats = view["beats"]["beats"]
    assert json.loads(files["beats"].read_text())["beats"] == beats
    assert np.allclose([note.start for note in read_midi(files["midi"])], beats, atol=0.002)
    assert soundfile.info(files["click"]).duration == pytest.approx(view["video"]["seconds"], abs=0.01)
    assert made_video_has_sound(files["video"])
    name = studio.ask("POST", f"/api/jobs/{job}/exports", {"kind": "video", "take": 1, "mix": 0.5})["name"]
    studio.finished(job)
    assert studio.read(f"/api/jobs/{job}/exports/{name}") != files["video"].read_bytes(), (
        "with the original sound under it"
    )
    other = studio.ask("POST", "/api/projects?name=x.zip", data=files["project"].read_bytes())["id"]
    for number in [t["number"] for t in view["takes"]]:
        assert sound_of(studio, other, number) == sound_of(studio, job, number)
    first, second = (sound_of(studio, j, take(studio, j, seed=3)) for j in (job, other))
    assert first == second, "equal settings give equal music in the opened project"
    studio.ask("DELETE", f"/api/jobs/{other}")


def made_video_has_sound(path):
    import av

    with av.open(str(path)) as media:
        return len(media.streams.video) == 1 and len(media.streams.audio) == 1


def test_a_file_that_is_no_video_fails_in_a_line_and_the_next_one_works(root, studio, pipeline):
    bad = studio.ask("POST", "/api/jobs?name=holiday.mp4", data=b"no video at all" * 100)["id"]
    clip = next(iter(sorted((root / "data/demo/clips").glob("*.mp4"))))
    good = studio.ask("POST", f"/api/jobs?name={clip.name}", data=clip.read_bytes())["id"]
    steps = studio.finished(bad)["steps"]
    assert (
        steps["read"]["state"] == "failed"
        and "holiday.mp4" in steps["read"]["error"]
        and str(root) not in steps["read"]["error"]
    )
    assert {steps[s]["state"] for s in ("pose", "rhythm", "music")} == {"not done"}
    assert studio.finished(good)["steps"]["music"]["state"] == "done"
    for found in (bad, good):
        studio.ask("DELETE", f"/api/jobs/{found}")
    assert not (root / "runs/demo/studio" / good).exists()


def test_cancelled_work_stops_and_can_be_asked_again(root, studio):
    clip = next(iter(sorted((root / "data/demo/clips").glob("*.mp4"))))
    job = studio.ask("POST", f"/api/jobs?name={clip.name}", data=clip.read_bytes())["id"]
    while studio.job(job)["steps"]["read"]["state"] == "waiting":
        time.sleep(0.02)
    studio.ask("POST", f"/api/jobs/{job}/cancel")
    view = studio.finished(job, seconds=30)
    assert view["steps"]["music"]["state"] == "cancelled" and not studio.ask("GET", "/api/state")["queue"]
    studio.ask("POST", f"/api/jobs/{job}/again")
    assert studio.finished(job)["steps"]["music"]["state"] == "done"
    studio.ask("DELETE", f"/api/jobs/{job}")


def test_a_killed_server_goes_on_where_it_was(pipeline, tmp_path, root):
    home = tmp_path / "home"
    shutil.copytree(root, home, ignore=shutil.ignore_patterns("studio"))
    clip = next(iter(sorted((home / "data/demo/clips").glob("*.mp4"))))
    studio = Studio(home, str(clip))
    try:
        job = studio.place[1:]
        with pytest.raises(UserError, match=f"another studio has these jobs open at {studio.base}/;"):
            studio_command.main(["--root", str(home), "--corpus", "demo", "--port", "0"])
        for step in ("read", "pose", "rhythm", "music"):  # killed in each step
            while studio.job(job)["steps"][step]["state"] == "waiting":
                time.sleep(0.02)
            address = studio.address
            studio.kill()
            studio = Studio(home, port=studio.port)
            assert studio.address == address, "an open page may go on"
        view = studio.finished(job)
        assert {s["state"] for s in view["steps"].values()} == {"done"} and view["name"] == clip.name
        sound = sound_of(studio, job, 1)
    finally:
        studio.stop()
    assert sound == made(home, "--video", clip), "as if nothing had happened"


@pytest.mark.parametrize("options, message", [
    (["--port", "70000"], "--port must be 0 to 65535"), (["nothing.mp4"], "nothing.mp4: file not found"),
    (["--own-music", "nowhere"], "nowhere: no such folder of songs"), (["--host", "192.0.2.1"], "can't serve on 192.0.2.1"),
])  # fmt: skip
def test_mistakes_are_said_before_anything_is_loaded(root, options, message):
    with pytest.raises(UserError, match=message):
        studio_command.main(["--root", str(root), "--corpus", "demo", *options])


def test_models_that_are_missing_are_named_with_their_command(tmp_path):
    (tmp_path / "manifests/demo").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("studio: {}\ngenerate: {}\n")
    with pytest.raises(UserError, match="python -m d2m_model.rhythm --corpus demo"):
        studio_command.main(["--root", str(tmp_path), "--corpus", "demo", "--port", "0"])
