"""A connection whose process died in Ray is made again; an address where nothing is, is one line."""

import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.ray_connection import DIED, TRIES, connect, find_running

ray = pytest.importorskip("ray")
FAILURE = (
    f"Initialization failure from server: RuntimeError: {DIED}. See ray_client_server_23000.err for detailed logs."
)


@pytest.mark.parametrize(
    ("failures", "begun"),
    [([], 1), ([FAILURE], 2), ([FAILURE] * TRIES, TRIES), (["no such host"], 1)],
    ids=["lives", "dies once", "dies always", "is not there"],
)
def test_a_connection_that_died_is_made_again(monkeypatch, failures, begun):
    """Which of Ray's processes survives gRPC's fork is up to chance, so Ray's answer is put in place of Ray."""
    asked, left = [], list(failures)

    def init(**settings):
        asked.append(settings["address"])
        if left:
            raise ConnectionAbortedError(left.pop(0))

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    if len(failures) < begun:
        with connect("ray://127.0.0.1:23001"):
            assert not left
    else:
        with pytest.raises(UserError, match="could not join the cluster at ray://127.0.0.1:23001"), connect("ray://127.0.0.1:23001"):  # fmt: skip
            pass
    assert asked == ["ray://127.0.0.1:23001"] * begun


def test_an_address_where_nothing_is_is_one_line(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(UserError, match="nothing answers at RAY_ADDRESS=127.0.0.1:9"):
        find_running()
