"""Jobs without a worker, for what the pages and files of the studio do; and a studio with a job for the tests of its page."""

import io
import json
import re
import zipfile

import numpy as np
import pytest

from d2m_model.generate.finish import write_wav
from d2m_model.rhythm.beats_file import Beats, write_beats
from d2m_model.studio.job import Job, Task
from d2m_model.studio.jobs import Jobs
from d2m_model.studio.params import Params
from d2m_model.studio.project_file import pack
from d2m_model.studio.session import Session
from d2m_model.studio.stage import application
from dataset_tools.lib.core.array_file import write_npy
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from tests.helpers.footage import numbered_video, tone
from tests.helpers.studio_page import Page
from tests.helpers.studio_server import Studio, studio_root

TOKEN = "t" * 40
CHANGE = {"X-Studio": "1"}
FRAMES = 90


@pytest.fixture
def layout(tmp_path) -> Layout:
    (tmp_path / "manifests" / "tiny").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("corpus: tiny\ngenerate: {}\nclips: {}\n")
    return Layout(root=tmp_path, corpus="tiny")


@pytest.fixture
def jobs(layout) -> Jobs:
    """Jobs whose queue nobody works on."""
    found = Jobs(layout, Params(upload_mib=1))
    found.load()
    return found


def client_of(jobs: Jobs, *, cookie: bool = True):
    client = application(jobs.layout, jobs, Session(TOKEN, 8322), []).test_client()
    if cookie:
        client.set_cookie("studio-8322", TOKEN)
    return client


@pytest.fixture
def client(jobs):
    """A browser that has the cookie."""
    return client_of(jobs)


def finished_job(jobs: Jobs) -> Job:
    """A job of 3 s of video with beats every half second and one take, as its worker would leave it."""
    job = jobs.new("My dance.mp4", ".mp4")
    numbered_video(job.folder / "video.mp4", 30, FRAMES / 30)
    write_text(job.folder / "preview.mp4", "preview")
    write_npy(job.folder / "pose.npy", np.full((FRAMES, 2, 17, 3), 0.5, np.float32))
    beats = Beats(fps=30, seconds=3.0, beats=np.arange(0.5, 3, 0.5), downbeats=np.array([0.5, 2.5]), tempo=120.0)
    for path in (job.found_beats, job.beats, job.folder / "takes" / "1.beats.json"):
        write_beats(path, beats)
    write_text(job.folder / "motion.json", json.dumps({"kinematic": [0.52, 1.04]}))
    write_wav(job.take(1), tone(3.0, SAMPLE_RATE)[0] / np.float32(32768))
    write_text(
        job.folder / "takes" / "1.json", json.dumps({"seconds": 3.0, "peaks": [], "beats": [0.5], "onsets": [0.97]})
    )
    read = {
        "found": "3.0 s",
        "frames": FRAMES,
        "seconds": 3.0,
        "begin": 0.0,
        "width": 64,
        "height": 48,
        "sound": False,
        "lufs": None,
    }
    pose = {"found": "2 dancers", "size": [64, 48], "people": 2, "joints": 17, "seen": [1.0, 0.5], "doubt": False}
    take = {
        "level": "high",
        "style": "",
        "strictness": 1.0,
        "loudness": -16.0,
        "seed": 0,
        "from": None,
        "redo": None,
        "keep": None,
    }
    made = {"found": "3.0 s of music", "told": "", "seconds": 3.0, "lufs": -16.0}
    done = (
        ("read", "read", {}, read),
        ("pose", "pose", {}, pose),
        ("rhythm", "rhythm", {}, {"found": "5 beats"}),
        ("take-1", "take", take, made),
    )
    for number, (key, kind, arguments, result) in enumerate(done, 1):
        job.put(Task(key=key, kind=kind, asked=number, state="done", arguments=arguments, result=result))
    jobs.add(job)
    return job


def project_of(job, tmp_path, changes=()) -> bytes:
    """A job's project file, in which the files `changes` have other content, or (None) are missing."""
    pack(job, tmp_path / "project.zip")
    with zipfile.ZipFile(tmp_path / "project.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files |= dict(changes)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(name, content)
    return out.getvalue()


# A studio and its page


@pytest.fixture(scope="session")
def studio(pipeline, tmp_path_factory):
    root = studio_root(pipeline, tmp_path_factory.mktemp("studio"))
    weights = root / "manifests" / "weights.csv"
    weights.write_text(re.sub(r"https?://[^,]*", "http://127.0.0.1:9/x", weights.read_text()))  # nothing can be had
    found = Studio(root)
    yield found
    found.stop()


@pytest.fixture(scope="session")
def job(studio):
    """A job with one take and a beat each half second."""
    return studio.job_with_beats()


@pytest.fixture
def play():
    with pytest.importorskip("playwright.sync_api").sync_playwright() as found:
        yield found


@pytest.fixture
def opened(play, studio, job):
    """opened(**context): a new browser in which the job is shown."""
    pages = []

    def open_page(**context) -> Page:
        mine = Page(play, studio, **context)
        pages.append(mine)
        mine.page.goto(f"{studio.base}/#{job}")
        mine.wait_for_take(1)
        mine.page.locator(f'[data-beat="{len(mine.beats()) - 1}"]').wait_for()
        return mine

    yield open_page
    for mine in pages:
        assert mine.errors == [] and mine.outside == []
        mine.browser.close()
