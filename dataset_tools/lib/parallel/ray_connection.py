"""Connect to a Ray cluster: one that runs, or one that is started here for the purpose."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataset_tools.lib.core.errors import UserError, one_line

ANSWER = 5.0  # s that a running cluster has to answer
TRIES = 3
DIED = "Starting Ray client server failed"
"""What Ray says if the process died that it forks for each connection: gRPC does not survive every fork of a process with threads. The next
one lives, as a rule."""
OBJECT_STORE = 100_000_000  # bytes; for a cluster that is started here: only small records pass
os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")  # or ray puts its own function in place of Python's print


@contextmanager
def connect(address: str) -> Iterator[None]:
    """Connect to the cluster at `address` until the block ends. If this process is connected already, that connection is used.

    address: 'ray://host:port', or 'auto': the cluster of RAY_ADDRESS or of this machine or, if there is none, one that is started for
    the block, with this machine's CPUs and GPUs. Raises UserError if there is nothing at the address.
    """
    joined = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    if joined:
        yield
        return
    found = find_running() if address == "auto" else address
    settings: dict[str, Any] = {}
    if not found:  # processes as nice as local ones: Ray's would give way to all other work on the machine
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
        settings = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    if not found or "RAY_AUTH_TOKEN" in os.environ or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault(
            "RAY_AUTH_MODE", "token"
        )  # otherwise Ray would not show its secret; it reads this when it is imported
    import ray

    for tries_left in reversed(range(TRIES)):
        try:
            ray.init(address=found or "local", logging_level=logging.WARNING, **settings)
            break
        except Exception as err:  # noqa: BLE001 - Ray raises many kinds, `Exception` itself among them
            if tries_left and DIED in str(err):
                continue
            what = f"join the cluster at {found}" if found else "start"
            raise UserError(f"cluster: Ray could not {what}: {one_line(str(err))[:500]}") from None
    try:
        yield
    finally:
        ray.shutdown()


def find_running() -> str:
    """Address of the cluster of RAY_ADDRESS or, without it, of the one that `ray start` began on this machine; '' if there is none.

    Ray leaves the address of a cluster that was killed where it looks for one, and then waits a minute for it. Raises UserError if
    nothing answers at RAY_ADDRESS.
    """
    if told := os.environ.get("RAY_ADDRESS", ""):
        if told.count(":") == 1 and not _answers(told):
            raise UserError(
                f"cluster: nothing answers at RAY_ADDRESS={told}; correct it, or start Ray there (docs/cluster.md)"
            )
        return told
    noted = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    address = noted.read_text(encoding="utf-8").strip() if noted.is_file() else ""
    return address if address and _answers(address) else ""


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, ValueError):
        return False
    return True
