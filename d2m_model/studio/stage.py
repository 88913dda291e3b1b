"""The command `studio`: opens the jobs of a corpus and prepares their web application."""

import filecmp
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_model.generate.given_files import songs_of
from d2m_model.studio.job import own_name, shown_name
from d2m_model.studio.jobs import Jobs
from d2m_model.studio.takes import first_take
from dataset_tools.lib.core.atomic import atomic_write, publish
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.packs import is_stored
from dataset_tools.lib.core.timebase import frames_to_seconds

if TYPE_CHECKING:
    import flask

    from d2m_model.studio.session import Session


def check_songs(folders: list[Path]) -> None:
    """Raises UserError for a folder of songs that does not exist or has none."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of songs")
        if not songs_of(folder):
            raise UserError(f"{folder}: no songs in this folder")


def token_of(jobs: Jobs) -> str:
    """The secret of the studio's address. It stays the same, so that an open page goes on after the server was restarted."""
    path = jobs.folder / "token"
    if path.is_file() and len(token := path.read_text(encoding="ascii", errors="replace").strip()) >= 32:
        return token
    token = secrets.token_urlsafe(32)
    with atomic_write(path) as aside:
        aside.touch(mode=0o600)
        aside.write_text(token, encoding="ascii")
    return token


def clips_of(layout: Layout, split: str) -> list[dict[str, Any]]:
    """{id, seconds} of the split's clips; empty where there are no shards."""
    from dataset_tools.lib.shard_io.shard_set import ShardSet

    if not any(layout.stage("shards").glob(f"{split}-*.h5")):
        return []
    return [
        {"id": c.clip_id, "seconds": round(frames_to_seconds(c.frames), 2)}
        for c in ShardSet(layout.stage("shards"), split).clips
    ]


def add_video(jobs: Jobs, video: Path) -> str:
    """Make a job of a video of this machine, unless there is one already; its id. Raises UserError for a missing file."""
    if not video.is_file():
        raise UserError(f"{video}: file not found")
    for job in jobs.all():
        named = own_name(job.name) == own_name(shown_name(video.name))
        if named and filecmp.cmp(video, job.folder / job.video, shallow=False):
            return job.id
    job = jobs.new(video.name, video.suffix)
    publish(video, job.folder / job.video)
    jobs.add(job, first_take(jobs))
    return job.id


def application(layout: Layout, jobs: Jobs, session: "Session", folders: list[Path]) -> "flask.Flask":
    """The studio as a WSGI application; see `d2m_model.studio.web`."""
    from d2m_model.studio.web import create_app

    clips = clips_of(layout, jobs.params.split)
    known = {clip["id"] for clip in clips}

    def clip_file(clip_id: str) -> Path | None:
        path = layout.stage("clips") / f"{clip_id}.mp4"
        return path if clip_id in known and is_stored(path) else None

    there = [clip for clip in clips if clip_file(clip["id"])]
    return create_app(jobs, session, clips=there, clip_file=clip_file, folders=folders)
