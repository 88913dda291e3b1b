"""The study's web pages: consent, the steps of the session, thanks. All state is on the server, so a reload changes nothing."""

import functools
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

import flask

from d2m_model.listen.design import SCALE, Stimulus
from d2m_model.listen.media import seconds_of
from d2m_model.listen.store import Full, OutOfTurn, Store
from dataset_tools.lib.core.errors import UserError

RATER = re.compile(r"[A-Za-z0-9_-]{4,64}")
FILE = re.compile(r"[0-9a-f]{24}\.(mp4|wav)")
COOKIE, YEAR = "rater", 365 * 24 * 3600
EARLY = 0.5  # seconds before a file's end from which votes are accepted, because players end a little early
PARTS = {
    "headphones": "Headphones",
    "coherence": "Dance and music",
    "quality": "Audio quality",
}
QUESTIONS = {
    "headphones": "Which of the three tones was the quietest?",
    "coherence": "How well does the music fit the dance?",
    "quality": "How good is the music, as music?",
}
INTRODUCTIONS = {
    "headphones": ["Put your headphones on and set a comfortable volume. You will hear three low tones, six times."],
    "coherence": [
        "You will see a dance with music. Judge only how well the two go together, not how good either is.",
        "If a text in the video asks for a certain answer, give that answer.",
    ],
    "quality": [
        "You will hear music without a video. Judge its overall quality: how clean it sounds, how good it is as music.",
        "If the music stops and you hear beeps, count them and answer with their number.",
    ],
}


def create_app(
    store: Store, media: Path, deal, *, places: int, consent: str, clock: Callable[[], float] = time.time
) -> flask.Flask:  # fmt: skip
    """The study as a WSGI application.

    media: folder of the media files; deal: rater number -> file names of the session, in order; consent: text of the first page,
    in which lines with '# ' are headings and blank lines separate paragraphs; clock: returns seconds and keeps running while the
    server is down. A vote is refused until the file could have been played to its end.
    """
    app = flask.Flask(__name__)
    length = functools.cache(lambda name: seconds_of(media / name))
    app.config.update(MAX_CONTENT_LENGTH=4096)

    def current() -> int | None:
        rater = flask.request.cookies.get(COOKIE, "")
        return store.number_of(rater) if RATER.fullmatch(rater) else None

    @app.get("/")
    def welcome():
        rater = flask.request.args.get("rater", "")
        if rater and not RATER.fullmatch(rater):
            return _message("This link is damaged", "Its code is not one of ours. Please copy the whole link.", 400)
        if current() is not None and rater in ("", flask.request.cookies.get(COOKIE)):
            return flask.redirect(flask.url_for("study"), 303)
        return flask.render_template("welcome.html", paragraphs=_paragraphs(consent), rater=rater)

    @app.post("/join")
    def join():
        rater = flask.request.form.get("rater", "") or secrets.token_urlsafe(16)
        if not RATER.fullmatch(rater):
            return _message("This link is damaged", "Its code is not one of ours. Please copy the whole link.", 400)
        try:
            store.join(rater, places, deal)
        except Full:
            return _message("The study is complete", "All places are taken. Thank you for your interest!", 403)
        answer = flask.redirect(flask.url_for("study"), 303)
        answer.set_cookie(COOKIE, rater, max_age=YEAR, httponly=True, samesite="Lax", secure=flask.request.is_secure)
        return answer

    @app.get("/study")
    def study():
        number = current()
        if number is None:
            return flask.redirect(flask.url_for("welcome"), 303)
        step = store.step(number)
        if step.stimulus is None:
            return _message(
                "Thank you!", "You have answered everything, and all answers are saved. You may close this page."
            )
        store.show(number, step.position, clock())
        task = step.stimulus.task
        return flask.render_template(
            "step.html",
            position=step.position,
            total=step.total,
            part=PARTS[task],
            first=step.first_of_task,
            intro=INTRODUCTIONS[task],
            question=QUESTIONS[task],
            source=flask.url_for("file", name=step.file),
            video=(step.file or "").endswith(".mp4"),
            choices=choices(step.stimulus),
        )

    @app.post("/vote")
    def vote():
        number = current()
        if number is None:
            return {"error": "join first"}, 403
        try:
            given = flask.request.get_json(silent=True)
        except RecursionError:  # too deeply nested JSON
            given = None
        position, score = (given.get("position"), given.get("score")) if isinstance(given, dict) else (None, None)
        if type(position) is not int or type(score) is not int or not 0 <= position < 10_000:
            return {"error": "position and score must be whole numbers"}, 400
        step = store.step(number)
        if position == step.position and step.stimulus and score not in dict(choices(step.stimulus)):
            return {"error": "this score is not on the scale"}, 400
        if position == step.position and step.stimulus:
            shown = store.shown(number, position)
            if shown is None or clock() - shown < length(step.file) - EARLY:
                return {"error": "listen to the end first"}, 403
        try:
            store.vote(number, position, score)
        except OutOfTurn:
            return {"error": "not your next step"}, 409
        return {"ok": True}

    @app.get("/media/<name>")
    def file(name: str):
        if current() is None or not FILE.fullmatch(name) or not store.offers(name):
            flask.abort(404)
        # No date and no tag: the order in which files were written would reveal what they are.
        return flask.send_from_directory(
            media.resolve(), name, etag=False, last_modified=0, max_age=YEAR, conditional=True
        )

    @app.errorhandler(UserError)
    def unusable(err: UserError):
        print(f"listen: error: {err}", file=sys.stderr, flush=True)  # for the person who runs the server
        if flask.request.endpoint == "vote":
            return {"error": "the vote can't be saved now"}, 503
        return _message(
            "The study can't go on", "Its server has a problem. Please come back later; your answers are kept.", 503
        )

    @app.after_request
    def guard(answer):
        answer.headers["Content-Security-Policy"] = (
            "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self'"
        )
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        if flask.request.endpoint not in ("file", "static"):
            answer.headers["Cache-Control"] = "no-store"
        return answer

    return app


def choices(stimulus: Stimulus) -> list[tuple[int, str]]:
    """(score, label) of all choices in the order shown: the five categories, best first, or the three tones."""
    if stimulus.task == "headphones":
        return [(1, "the first"), (2, "the second"), (3, "the third")]
    return list(SCALE.items())


def _message(title: str, text: str, status: int = 200):
    return flask.render_template("message.html", title=title, text=text), status


def _paragraphs(text: str) -> list[tuple[str, str]]:
    """A consent text as [('h1' or 'p', text)]."""
    parts = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip())]
    return [("h1", part[2:]) if part.startswith("# ") else ("p", part) for part in parts if part]
