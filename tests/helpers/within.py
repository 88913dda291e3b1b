"""Time limits: of commands, whatever processes they leave, and of waiting."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence


def run_within(seconds: float, command: Sequence, **options) -> subprocess.CompletedProcess:
    """Run a command in a process group of its own, its output captured as text.

    After `seconds` the whole group is killed and AssertionError raised: a process that was left over would hold the pipes
    open, and `subprocess.run` would wait for it after its own time limit.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(
            f"{command} took more than {seconds} s; its stderr ends: {_killed(process)[-3000:]}"
        ) from None
    except BaseException:
        _killed(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _killed(process: subprocess.Popen) -> str:
    """Kill the group; gives what it had written to stderr."""
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[1]


def until(seconds: float, condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; AssertionError where it takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true in {seconds} s"
        time.sleep(0.05)
