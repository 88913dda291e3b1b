"""Who may ask: a browser with the cookie that the printed address sets."""

import hmac

from werkzeug.sansio.http import parse_cookie

LOCKED = "open the address that the terminal shows"
"""The answer to requests without the cookie."""


class Session:
    """The secret of a studio and the cookie that holds it. The cookie's name has the port, because browsers send a host's cookies to all
    of its ports, and two studios of one machine have different secrets."""

    def __init__(self, token: str, port: int):
        self.token, self.cookie = token, f"studio-{port}"

    def is_token(self, given: str) -> bool:
        """Whether this is the secret."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def is_open(self, cookies: str) -> bool:
        """Whether a request with this `Cookie` header, each byte a character, may see and change everything. Cookies of other programs
        on this machine are in it, in any encoding: it is not decoded."""
        return self.is_token(parse_cookie(cookies).get(self.cookie, ""))
