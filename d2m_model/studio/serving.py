"""Serves the studio until it is interrupted."""

import socket
import tempfile
from pathlib import Path

from d2m_model.studio.jobs import Jobs
from d2m_model.studio.params import Params
from d2m_model.studio.stage import add_video, application, check_songs, token_of
from d2m_model.studio.takes import first_take
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.locks import file_lock

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = ("0.0.0.0", "::")
"""Hosts that stand for all addresses of this machine."""


def serve(layout: Layout, params: Params, *, video: Path | None, folders: list[Path], host: str, port: int) -> None:
    """Serve the corpus's jobs. video: the first job. folders: the person's songs. port: 0 takes any free one.

    Raises UserError for missing models, a folder without songs, an address that is not available, and where another studio has
    these jobs open.
    """
    from d2m_model.studio.http_server import create_server
    from d2m_model.studio.session import Session

    check_songs(folders)
    listening = _bind(host, port)
    port = listening.getsockname()[1]
    jobs = Jobs(layout, params)
    first_take(jobs)  # raises for parameters with which every take would fail
    try:
        with file_lock(jobs.folder / "lock", wait=False):
            tempfile.tempdir = str(jobs.folder)  # uploads are received there first: /tmp may be small, or in memory
            jobs.load()
            token = token_of(jobs)
            session = Session(token, port)
            server = create_server(
                application(layout, jobs, session, folders), session, listening, params.upload_bytes + (1 << 20)
            )
            place = f"#{add_video(jobs, video)}" if video else ""
            jobs.start()
            if host not in LOOPBACK:
                say(
                    "studio",
                    "warning: other machines can reach this address, and who has it can use this studio; there is no TLS"
                    + (f"; there, put this machine's name in place of {host}" if host in ANY else ""),
                )
            shown = f"[{host}]" if ":" in host else host
            write_text(jobs.folder / "address", f"http://{shown}:{port}/\n")
            say("studio", f"open http://{shown}:{port}/?token={token}{place} (Ctrl-C ends it; everything is kept)")
            try:
                server.run()
            finally:
                jobs.stop()
    except BlockingIOError:
        known = jobs.folder / "address"
        where = f" at {known.read_text(encoding='utf-8').strip()}" if known.is_file() else ""
        raise UserError(
            f"{jobs.folder}: another studio has these jobs open{where}; use its page, or end it first"
        ) from None


def _bind(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, UnicodeError) as err:
        raise UserError(
            f"studio: can't serve on {host}:{port} ({getattr(err, 'strerror', None) or err}); perhaps a studio is open there already: use its page, or give another --port"
        ) from None
    return listening
