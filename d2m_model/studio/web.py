"""The studio's web server: the page, its files and its requests. All state is in the jobs, so a reload changes nothing.

Other sites can neither read nor change anything: every request needs a cookie that only the address printed in the terminal
sets, and every change needs a header that a browser lets no other site send.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from d2m_model.generate.given_files import SONGS
from d2m_model.studio import beats_edits, project_file, requests, takes, view
from d2m_model.studio.history import Outdated
from d2m_model.studio.job import PROJECT, SUFFIX, Job, shown_name
from d2m_model.studio.jobs import Jobs, Unknown
from d2m_model.studio.session import LOCKED, Session
from dataset_tools.lib.core.atomic import atomic_write, publish
from dataset_tools.lib.core.errors import UserError, describe_disk_error
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.packs import local_file

BLOCK = 1 << 20
YEAR = 365 * 24 * 3600
BODY_BYTES = 8 << 20
"""Largest body of a request that is no upload."""
KEPT = ("static", "preview", "audio", "peaks", "pose")
"""What a browser may keep, and asks about before it shows it again."""
UPLOADS = ("upload_video", "upload_project", "upload_audio")
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
)


def create_app(
    jobs: Jobs, session: Session, *, clips: list[dict[str, Any]], clip_file: Callable[[str], Path | None], folders: list[Path]
) -> flask.Flask:  # fmt: skip
    """The studio as a WSGI application.

    clips: {id, seconds} of the clips that can be opened; clip_file: clip id -> its video, None if it can't be opened. folders: the
    person's folders of songs.
    """
    app = flask.Flask(__name__)
    app.config.update(MAX_CONTENT_LENGTH=None)

    @app.before_request
    def check():
        request = flask.request
        if request.endpoint == "page" and session.is_token(request.args.get("token", "")):
            answer = flask.redirect(flask.url_for("page"), 303)
            answer.set_cookie(session.cookie, session.token, max_age=YEAR, httponly=True, samesite="Strict")
            return answer
        if not session.is_open(request.headers.get("Cookie", "")):
            return (flask.render_template("locked.html") if request.endpoint == "page" else {"error": LOCKED}), 401
        if request.method not in ("GET", "HEAD") and request.headers.get("X-Studio") != "1":
            return {"error": "this request does not come from the studio's page"}, 403
        most = jobs.params.upload_bytes if request.endpoint in UPLOADS else BODY_BYTES
        request.max_content_length = most
        if (request.content_length or 0) > most:
            return _too_large(most)
        return None

    @app.get("/")
    def page():
        return flask.render_template("studio.html")

    @app.get("/api/state")
    def state():
        return view.state_view(jobs, clips, folders)

    @app.post("/api/jobs")
    def upload_video():
        name = shown_name(flask.request.args.get("name", ""))
        job = jobs.new(name, Path(name).suffix)
        return _received(job, _receive), 201

    @app.post("/api/jobs/from-clip")
    def from_clip():
        name = body(requests.ClipRequest).clip
        source = clip_file(name)
        if source is None:
            raise Unknown(name)
        with local_file(source) as file:
            job = jobs.new(f"{name}.mp4", source.suffix)
            return _received(job, lambda target: publish(file, target)), 201

    @app.post("/api/projects")
    def upload_project():
        job = jobs.new("project", ".zip")
        try:
            _receive(job.folder / PROJECT)
            found = project_file.unpack(job.folder / PROJECT, job.folder, jobs.params.upload_bytes)
            (job.folder / PROJECT).unlink()
            jobs.add(found)
        except BaseException:
            project_file.discard(job.folder)
            raise
        return {"id": job.id}, 201

    def _received(job: Job, receive: Callable[[Path], None]) -> dict[str, str]:
        try:
            receive(job.folder / job.video)
            jobs.add(job, takes.first_take(jobs))
        except BaseException:
            project_file.discard(job.folder)
            raise
        return {"id": job.id}

    @app.get("/api/jobs/<job_id>")
    def show(job_id: str):
        return view.job_view(jobs, jobs.get(job_id))

    @app.delete("/api/jobs/<job_id>")
    def remove(job_id: str):
        jobs.remove(jobs.get(job_id))
        return {}

    @app.get("/api/jobs/<job_id>/preview.mp4")
    def preview(job_id: str):
        return _file(_finished(jobs.get(job_id), "read").folder / "preview.mp4")

    @app.get("/api/jobs/<job_id>/pose.bin")
    def pose(job_id: str):
        size, blocks = view.pose_blocks(_finished(jobs.get(job_id), "pose"))
        answer = flask.Response(blocks, mimetype="application/octet-stream")
        answer.content_length = size
        return answer

    @app.get("/api/jobs/<job_id>/sound/<name>")
    def audio(job_id: str, name: str):
        job = jobs.get(job_id)
        return _file(beats_edits.drawing_of(job, name).with_suffix(".wav"))

    @app.get("/api/jobs/<job_id>/peaks/<name>")
    def peaks(job_id: str, name: str):
        return _file(beats_edits.drawing_of(jobs.get(job_id), name))

    @app.get("/api/jobs/<job_id>/motion")
    def motion(job_id: str):
        return beats_edits.motion_of(_finished(jobs.get(job_id), "rhythm"))

    @app.put("/api/jobs/<job_id>/beats")
    def save_beats(job_id: str):
        wanted = body(requests.SaveRequest)
        with jobs.lock:
            job = jobs.get(job_id)
            history = beats_edits.save_beats(jobs, job, wanted)
            written = history and {"version": history.version, "at": history.at}
            return {"beats": view.beats_view(job), "history": written}

    @app.post("/api/jobs/<job_id>/beats/change")
    def change_beats(job_id: str):
        wanted = body(requests.ChangeRequest)
        with jobs.lock:
            job = jobs.get(job_id)
            beats_edits.change_beats(job, wanted)
            return {"beats": view.beats_view(job)}

    @app.get("/api/jobs/<job_id>/history")
    def history(job_id: str):
        with jobs.lock:
            return view.history_view(beats_edits.beats_history(jobs.get(job_id)))

    @app.put("/api/jobs/<job_id>/takes/<number>/name")
    def name_take(job_id: str, number: str):
        wanted = body(requests.NameRequest)
        with jobs.lock:
            job = jobs.get(job_id)
            job.name_take(takes.take_of(job, number).number, wanted.name)
        return {}

    @app.post("/api/jobs/<job_id>/dancer")
    def dancer(job_id: str):
        wanted = body(requests.DancerRequest)
        with jobs.lock:
            beats_edits.follow_dancer(jobs, jobs.get(job_id), wanted.dancer)
        return {}, 202

    @app.post("/api/jobs/<job_id>/takes")
    def add_takes(job_id: str):
        wanted = body(requests.TakeRequest)
        with jobs.lock:
            return takes.ask_takes(jobs, jobs.get(job_id), wanted)._asdict(), 202

    @app.post("/api/jobs/<job_id>/own-music")
    def own_music(job_id: str):
        wanted = body(requests.OwnMusicRequest)
        with jobs.lock:
            return {"numbers": [takes.ask_own_music(jobs, jobs.get(job_id), wanted, folders)]}, 202

    @app.delete("/api/jobs/<job_id>/takes/<number>")
    def remove_take(job_id: str, number: str):
        with jobs.lock:
            takes.remove_take(jobs, jobs.get(job_id), number)
        return {}

    @app.post("/api/jobs/<job_id>/sounds")
    def upload_audio(job_id: str):
        use = flask.request.args.get("kind", "")
        if use not in ("style", "song"):
            raise UserError("kind must be style or song")
        name = shown_name(flask.request.args.get("name", ""))
        suffix = Path(name).suffix.lower()
        if use == "song" and suffix not in SONGS:
            raise UserError(f"{name}: a song ends in {', '.join(SONGS)}")
        with jobs.lock:
            job = jobs.get(job_id)
            number = job.next_number("sound")
            suffix = suffix if SUFFIX.fullmatch(suffix) else ".sound"
            file = f"songs/{number}{suffix}" if use == "song" else f"sounds/given-{number}{suffix}"
            path = job.folder / file
            path.parent.mkdir(exist_ok=True)
        try:
            _receive(path)
            jobs.ask(job, f"sound-{number}", "sound", {"file": file, "name": name, "use": use})
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return {"number": number}, 201

    @app.delete("/api/jobs/<job_id>/sounds/<number>")
    def remove_audio(job_id: str, number: str):
        with jobs.lock:
            takes.remove_audio(jobs, jobs.get(job_id), number)
        return {}

    @app.post("/api/jobs/<job_id>/exports")
    def export(job_id: str):
        wanted = body(requests.ExportRequest)
        with jobs.lock:
            task = takes.ask_export(jobs, jobs.get(job_id), wanted)
            return {"name": task.key, "asked": str(task.asked)}, 202

    @app.get("/api/jobs/<job_id>/exports/<name>")
    def download(job_id: str, name: str):
        job = jobs.get(job_id)
        task = job.done(name)
        if task is None or task.kind != "export":
            raise Unknown(name)
        return _file(job.folder / "exports" / task.key, download_name=view.export_view(job, task)["file"])

    @app.post("/api/jobs/<job_id>/cancel")
    def cancel(job_id: str):
        job, wanted = jobs.get(job_id), body(requests.CancelRequest)
        key = f"take-{wanted.number}" if wanted.what == "take" else wanted.name or ""
        jobs.cancel(job, None if wanted.what == "all" else {key})
        return {}

    @app.post("/api/jobs/<job_id>/again")
    def again(job_id: str):
        if not jobs.again(jobs.get(job_id), body(requests.AgainRequest).number):
            raise UserError("nothing failed and nothing was cancelled")
        return {}, 202

    def body(kind):
        return requests.read_request(kind, flask.request.get_data())

    @app.errorhandler(UserError)
    def unusable(err: UserError):
        return {"error": jobs.without_paths(str(err))}, 400

    @app.errorhandler(Outdated)
    @app.errorhandler(beats_edits.NotYet)
    def conflict(err: UserError):
        return {"error": str(err)}, 409

    @app.errorhandler(Unknown)
    def unknown(err: Unknown):
        return {"error": f"not there: {printable(str(err))}"}, 404

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_err):
        return _too_large(flask.request.max_content_length or BODY_BYTES)

    @app.errorhandler(OSError)
    def disk(err: OSError):
        if isinstance(err, FileNotFoundError):  # deleted by another request meanwhile
            return unknown(Unknown(Path(str(err.filename)).name))
        line = describe_disk_error(err, full_path=False)
        if line is None:
            raise err
        return {"error": jobs.without_paths(line)}, 507

    @app.errorhandler(HTTPException)
    def other(err: HTTPException):
        return {"error": (err.description or err.name).split("\n")[0]}, err.code or 500

    @app.after_request
    def guard(answer):
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        answer.headers["Cache-Control"] = "private, no-cache" if flask.request.endpoint in KEPT else "no-store"
        return answer

    return app


def _finished(job: Job, step: str) -> Job:
    if job.done(step) is None:
        raise Unknown(step)
    return job


def _file(path: Path, download_name: str | None = None) -> flask.Response:
    if not path.is_file():
        raise Unknown(path.name)
    answer = flask.send_file(
        path.resolve(),
        conditional=True,
        etag=True,
        as_attachment=download_name is not None,
        download_name=download_name,
    )
    if download_name is None:
        del answer.headers[
            "Content-Disposition"
        ]  # or it would be stored under the name that it has here, not the page's
    return answer


def _receive(target: Path) -> None:
    """Stream the request's body into a file, complete or absent. Raises UserError for an empty body."""
    with atomic_write(target) as aside, open(aside, "wb") as out:
        shutil.copyfileobj(flask.request.stream, out, BLOCK)
        if not out.tell():
            raise UserError("the file is empty")


def _too_large(most: int) -> tuple[dict[str, str], int]:
    where = "" if most == BODY_BYTES else ", the limit of this studio (studio.upload_mib in params.yaml)"
    return {"error": f"larger than {most >> 20} MiB{where}"}, 413
