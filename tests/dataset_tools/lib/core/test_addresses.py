"""Files at addresses: written complete or not at all, read within limits, and every mistake is one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.addresses import as_path, find_files, is_remote, open_ranges, send
from dataset_tools.lib.core.atomic import atomic_write, write_text
from dataset_tools.lib.core.errors import UserError
from tests.helpers.object_store import SECRETS, object_store


@pytest.fixture
def folder():
    """A folder in this process's memory, emptied afterwards."""
    place = as_path("memory://corpora/demo")
    yield place
    place.fs.store.clear()


def test_a_place_of_this_machine_stays_a_path(tmp_path):
    assert as_path("data/x") == Path("data/x") and as_path(tmp_path) is tmp_path
    assert as_path("file:///data/x") == Path("/data/x") and as_path("C://x") == Path("C://x")
    assert not is_remote(tmp_path) and is_remote(as_path("memory://x"))


def test_a_scheme_may_have_capitals():
    assert str(as_path("Memory://folder/x")) == str(as_path("memory://folder/x")) and as_path("FILE:///x") == Path("/x")


def test_a_file_is_sent_when_it_is_complete(folder):
    with atomic_write(folder / "a" / "x.txt") as temporary:
        temporary.write_text("half")
        assert not (folder / "a" / "x.txt").exists() and temporary.name == "x.txt"
        temporary.write_text("whole")
    assert (folder / "a" / "x.txt").read_text() == "whole" and not temporary.exists()
    with pytest.raises(ZeroDivisionError), atomic_write(folder / "a" / "x.txt") as temporary:
        temporary.write_text("never")
        raise ZeroDivisionError
    assert (folder / "a" / "x.txt").read_text() == "whole" and not temporary.exists()


def test_small_files_are_read_within_a_limit(folder):
    write_text(folder / "table.csv", "12345")
    assert limits.read_bytes(folder / "table.csv", 5) == b"12345"
    with pytest.raises(UserError, match="memory:.*table.csv: 5 bytes; such a file may have at most 4"):
        limits.read_bytes(folder / "table.csv", 4)
    with pytest.raises(UserError, match="memory:.*none.csv: not found; look at the address"):
        limits.read_bytes(folder / "none.csv", 4)


def test_files_are_found_by_name(folder, tmp_path):
    for place in (folder, tmp_path):
        assert find_files(place / "none", "*.h5") == []
        for name in ("b.h5", "a.h5", "c.txt"):
            write_text(place / name, name)
        assert [path.name for path in find_files(place, "*.h5")] == ["a.h5", "b.h5"]


@pytest.mark.parametrize(
    "address, rule",
    [
        ("foo://bucket/x", r"foo://bucket/x: .*'foo'; write s3://bucket/folder or a path"),
        ("file://data/x", r"file://data/x: must be file:///folder, with an absolute path"),
        ("s3://key:secret@bucket/x", r"s3://\.\.\.: an address must not hold credentials"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(address, rule):
    with pytest.raises(UserError, match=rule) as refused:
        as_path(address)
    assert "\n" not in str(refused.value) and "secret" not in str(refused.value)


def test_without_the_extra_one_line_names_it():
    code = (
        "import sys; sys.modules['upath'] = None\n"
        "from dataset_tools.lib.core.addresses import as_path; from dataset_tools.lib.core.cli import run\n"
        "run(lambda: as_path('s3://bucket/x') and 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        'error: the package upath is not installed, which this needs; install it: pip install "d2m[storage]"\n'
    )


def test_a_store_is_asked_for_ranges_only(tmp_path):
    (big := tmp_path / "big").write_bytes(bytes(5 << 20) + b"needle" + bytes(5 << 20))
    with object_store(tmp_path, "corpora") as store:
        place = as_path("s3://corpora/some/folder/big")
        send(big, place)
        store.forget()
        with open_ranges(place) as file:
            file.seek(5 << 20)
            assert file.read(6) == b"needle"
        assert store.sent <= 1 << 20 and store.requests["GET"] <= 2


@pytest.mark.parametrize("address", ["s3://no-such-bucket/x", "s3://corpora/no-such-file"])
def test_what_a_store_refuses_is_one_line_without_secrets(tmp_path, address):
    (tmp_path / "x").write_text("x")
    with object_store(tmp_path, "corpora"):
        with pytest.raises(UserError, match=f"^{address}: not found; look at the address") as refused:
            open_ranges(as_path(address))
    assert not any(secret in str(refused.value) for secret in SECRETS.values())
