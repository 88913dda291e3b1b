"""The HTTP server. It stores a request's body before the application sees the request, so it looks for the cookie first, in the headers:
who does not have it can send no body, and fills neither memory nor disk."""

import json
import socket
from collections.abc import Callable
from typing import Any

import waitress
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer
from waitress.utilities import Error

from d2m_model.studio.session import LOCKED, Session

THREADS = 32
"""Requests that are answered at once. A long video that is open but does not play keeps one of them."""
IDLE_SECONDS = 120
"""After this time without data, a connection is closed."""


class Unauthorized(Error):
    """The answer to a request with a body and without the cookie."""

    code, reason = 401, "Unauthorized"

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        """(status, headers, body) as the application would answer."""
        return (
            f"{self.code} {self.reason}",
            [("Content-Type", "application/json")],
            json.dumps({"error": LOCKED}).encode(),
        )


def create_server(application: Callable, session: Session, listening: socket.socket, most_bytes: int) -> BaseWSGIServer:
    """A server that is ready to `run`. most_bytes: largest body of a request that has the session's cookie."""

    class Parser(HTTPRequestParser):
        body_rcv: Any

        def parse_header(self, header_plus: bytes) -> None:
            super().parse_header(header_plus)
            if self.body_rcv is not None and not session.is_open(self.headers.get("COOKIE", "")):
                self.body_rcv, self.expect_continue = None, False
                self.error = Unauthorized(LOCKED)  # and the connection is closed

    class Channel(HTTPChannel):
        parser_class = Parser

    values: dict[str, Any] = {
        "threads": THREADS, "channel_timeout": IDLE_SECONDS, "max_request_body_size": most_bytes, "ident": None,
    }  # fmt: skip
    server = waitress.create_server(application, sockets=[listening], **values)
    server.channel_class = Channel
    return server
