"""The studio where two things happen at once, and where values are at their ends."""

import json

import numpy as np

from d2m_model.rhythm.beats_file import Beats, read_beats, write_beats
from tests.d2m_model.studio.conftest import CHANGE, finished_job


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
