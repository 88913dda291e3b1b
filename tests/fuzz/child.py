"""One family's tries, in a process of its own that may hang or die. `runner.py` starts it and hears what came."""

import ctypes
import faulthandler
import importlib
import os
import platform
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.orphans import end_with_parent
from tests.fuzz.case import LONGEST_REASON, Broken, Case, read_case

DEEP = "a/b/c/d/e"
"""Where the input lies in the scratch folder: a name with ../ leads out of the input and still into the scratch folder."""
ROOM = 3 << 30
"""Bytes of address space that a try may take more than there was before: the machine outlives it."""
MEMORY = 1 << 30
"""Bytes of memory from which a try is a fault."""
WRITES = {"os.mkdir": 0, "os.rename": 1, "os.remove": 0, "os.rmdir": 0, "os.symlink": 1, "os.link": 1, "os.truncate": 0}
"""Audit event -> which of its arguments is written to."""


class Enough(BaseException):
    """Ends hypothesis before its last example."""


class WriteGuard:
    """Records which files Python code writes outside of the folders that it may write into, while a try is on."""

    def __init__(self):
        self.allowed, self.found = (), []
        sys.addaudithook(self.record)

    def record(self, event: str, args: tuple) -> None:
        if not self.allowed:
            return
        if event == "open" and isinstance(args[0], (str, bytes)):
            mode, flags = args[1], args[2] or 0
            if set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.note(args[0])
        elif (
            event in WRITES and isinstance(args[WRITES[event]], (str, bytes, Path)) and not _in_open_folder(event, args)
        ):
            self.note(args[WRITES[event]])

    def note(self, path: str | bytes | Path) -> None:
        path = os.path.abspath(os.fsdecode(path))
        if not f"{path}/".startswith(self.allowed) and "__pycache__" not in path:
            self.found.append(path)


def explore(parent: int, pipe: Connection, name: str, saved: list[Path], inputs: int, seed: int, scratch: Path) -> None:
    """Try the saved cases of a family, then `inputs` new ones, and say of each ("begins", reader) and (what came, detail);
    last ("ended", ""), or ("mistaken", traceback) where the fuzzing itself fails. The input at hand lies in scratch/DEEP/in; after a fault an answer is waited for before the next."""
    end_with_parent(parent)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    faulthandler.disable()
    family, guard = importlib.import_module(f"tests.fuzz.{name}"), WriteGuard()

    def tried(case: Case) -> None:
        pipe.send(("begins", case.reader))
        came = attempt(family.READERS, case, scratch, guard)
        pipe.send(came)
        if came[0] not in ("taken", "refused"):
            pipe.recv()

    try:
        for path in saved:
            tried(read_case(path))
        if inputs:
            _invent(family, tried, inputs, seed)
        pipe.send(("ended", ""))
    except Exception:  # noqa: BLE001 - of the family's own code
        pipe.send(("mistaken", traceback.format_exc()))


def _invent(family, tried, inputs: int, seed: int) -> None:
    import hypothesis

    left = inputs

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=10 * inputs, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck), verbosity=hypothesis.Verbosity.quiet,
    )  # fmt: skip
    @hypothesis.given(family.cases())
    def each(case: Case) -> None:
        nonlocal left
        tried(case)
        left -= 1
        if not left:
            raise Enough

    try:
        each()
    except Enough:
        pass


def attempt(readers: dict, case: Case, scratch: Path, guard: WriteGuard) -> tuple[str, str]:
    """What came of a try and a detail: 'taken', 'refused', or a fault of one of runner.FAULTS."""
    folder = scratch / DEEP
    shutil.rmtree(scratch, ignore_errors=True)
    for place in ("out", "tmp"):
        (folder / place).mkdir(parents=True)
    tempfile.tempdir = str(folder / "tmp")
    case.write(folder / "in")
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)  # memory that was freed and kept would be taken again without a trace
    before, held = _names(scratch), _memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    guard.found.clear()
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + ROOM, resource.RLIM_INFINITY))
    guard.allowed = (f"{folder / 'out'}/", f"{folder / 'tmp'}/", "/dev/", "/proc/")
    try:
        readers[case.reader](folder / "in", folder / "out")
        came = "taken", ""
    except UserError as err:
        came = (
            ("refused", "")
            if len(str(err)) <= LONGEST_REASON
            else ("message", f"{len(str(err))} letters: {str(err)[:100]}")
        )
    except Broken as err:
        came = "wrong", str(err)
    except MemoryError:
        came = "memory", f"MemoryError at {_place()}"
    except Exception as err:  # noqa: BLE001 - that is what is looked for
        came = "traceback", f"{type(err).__name__}: {str(err)[:160]} at {_place()}"
    finally:
        guard.allowed = ()
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if (grown := _memory("VmHWM") - held) > MEMORY:
        came = "memory", f"{grown >> 20} MiB, {' '.join(came)}"
    outside = guard.found + sorted(
        name for name in _names(scratch) - before if not f"{name}/".startswith((f"{DEEP}/out/", f"{DEEP}/tmp/"))
    )
    return ("outside", ", ".join(outside[:3])) if outside else came


def _in_open_folder(event: str, args: tuple) -> bool:
    """Whether a name counts from a folder that is open, as those that shutil.rmtree removes."""
    return event in ("os.remove", "os.rmdir", "os.mkdir", "os.rename") and args[-1] not in (-1, None)


def _place() -> str:
    """Where an exception came from: its last line, and the last that is the project's own."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    own = [f for f in frames if "/dataset_tools/" in f.filename or "/d2m_model/" in f.filename]
    return ", ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in [*own[-1:], frames[-1]])


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _memory(field: str) -> int:
    """Bytes that the system says of this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(field))
