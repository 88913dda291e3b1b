"""Fuzzing finds faults of every kind, and finds none in the readers: a minute of `make fuzz` with a fixed seed."""

import itertools
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import strategies as st

from d2m_model.nets.cpu.memory import keep_freed_memory
from dataset_tools.lib.core.errors import UserError
from tests.conftest import ROOT, command
from tests.fuzz import FAMILIES, runner
from tests.fuzz.case import READER, Case, promise, read_case

INPUTS, SECONDS = 1000, 60


def refuses(into: Path, _out: Path) -> None:
    raise UserError(f"{into / 'x'}: not a file of this kind")


def says_too_much(_into: Path, _out: Path) -> None:
    raise UserError("x" * 100_000)


def takes(into: Path, out: Path) -> None:
    (out / "y").write_bytes((into / "x").read_bytes())


def leads_out(into: Path, out: Path) -> None:
    (out / (into / "x").read_text()).write_text("outside")


def leads_far(_into: Path, _out: Path) -> None:
    (Path(os.environ["FAR"]) / "x").write_text("outside")


def leads_beside(_into: Path, out: Path) -> None:
    Path(f"{out}-of-bounds").write_text("outside")


def hangs(_into: Path, _out: Path) -> None:
    while True:
        pass


def is_wrong(_into: Path, _out: Path) -> None:
    promise(1 + 1 == 3, "the sum is right")


def hoard() -> None:
    """Freed memory that the process keeps, as a training before it leaves: what a reader takes next need not grow it."""
    keep_freed_memory()
    np.ones(160 << 20)


def is_greedy(_into: Path, _out: Path) -> None:
    np.ones(150 << 20)


def dies(_into: Path, _out: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def breaks(into: Path, _out: Path) -> None:
    (into / "x").read_text()[99]


READERS = {
    "taken": takes, "refused": refuses, "traceback": breaks, "wrong": is_wrong, "hang": hangs, "memory": is_greedy, "outside": leads_out,
    "message": says_too_much, "crash": dies,
}  # fmt: skip


@pytest.mark.parametrize(("came", "reader"), [*READERS.items(), ("outside", leads_far), ("outside", leads_beside)])
def test_every_kind_of_fault_is_noticed_and_the_rest_still_tried(tmp_path, monkeypatch, came, reader):
    family = ModuleType("tests.fuzz.pretended")
    family.READERS = {"bad": reader, "good": takes}
    names = itertools.cycle(("good", "bad"))  # not drawn: what hypothesis draws depends on the modules that are loaded

    def cases():
        if came == "memory":
            hoard()
        return st.builds(lambda n: Case(next(names), {"x": b"../../X", "n": b"%d" % n}), st.integers())

    family.cases = cases
    monkeypatch.setitem(sys.modules, family.__name__, family)
    monkeypatch.setenv("FAR", str(tmp_path))
    if came == "hang":
        monkeypatch.setattr(runner, "PROCESSOR_SECONDS", 0.5)
    seen = runner.run_family("pretended", 6, 60, 1, tmp_path / "kept", tmp_path / "scratch")
    assert (
        seen.inputs == 6 and seen.counts["taken"] > 0 and seen.counts[came] > 0 and set(+seen.counts) <= {"taken", came}
    )
    assert not (tmp_path / "scratch").exists()
    for kind, name, _, folder in seen.faults:
        assert kind == came and name == "bad" and read_case(folder).files["x"] == b"../../X"


def test_an_error_of_the_fuzzing_itself_is_no_fault_of_a_reader(tmp_path, monkeypatch):
    family = ModuleType("tests.fuzz.pretended")
    family.READERS, family.cases = {}, partial(st.just, Case("unknown", {}))
    monkeypatch.setitem(sys.modules, family.__name__, family)
    tally = runner.run_family("pretended", 1, 60, 1, tmp_path / "kept", tmp_path / "scratch")
    assert tally.counts["traceback"] == 1
    family.cases = lambda: st.sampled_from([])
    with pytest.raises(RuntimeError, match="Cannot sample"):
        runner.run_family("pretended", 1, 60, 1, tmp_path / "kept", tmp_path / "scratch")


def test_saved_cases_have_readers():
    for path in runner.SEEDS.glob(f"*/*/{READER}"):
        assert path.parent.parent.name in FAMILIES and path.read_text().strip()


def test_no_reader_has_a_fault_in_a_minute(tmp_path):
    done = command(
        ROOT,
        sys.executable,
        "-m",
        "tests.fuzz",
        "--inputs",
        str(INPUTS),
        "--seconds",
        str(SECONDS),
        "--seed",
        "1",
        "--out",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    tried = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \|", done.stdout, re.MULTILINE))
    for family in FAMILIES:
        assert int(tried[family.replace("_", " ")]) > 0, f"no input of {family} was tried"
