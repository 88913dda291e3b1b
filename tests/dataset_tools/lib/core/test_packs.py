"""Files of a stage in packs: the same bytes come back, equal files give equal packs, and damage is one line."""

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dataset_tools.lib.core import file_memo, packs, scratch
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.file_memo import FileMemo
from dataset_tools.lib.core.pack_files import keep_files, publish_packs
from dataset_tools.lib.core.packs import (
    INDEX,
    find_part,
    is_stored,
    local_file,
    stored_names,
    stored_size,
)


def made(folder: Path, names, pack: int) -> dict[str, bytes]:
    """Publish a file of known bytes for each name, in packs of about `pack` or, with 0, by themselves; returns the bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder.with_name(f"{folder.name}-cache")
    cache.mkdir(exist_ok=True)
    known = {name: (f"{name} " * (3 + 700 * number % 997)).encode() for number, name in enumerate(sorted(names))}
    for name, data in known.items():
        (cache / name).write_bytes(data)
        if not pack:
            (folder / name).write_bytes(data)
    if pack:
        publish_packs(folder, {name: cache / name for name in known}, ".mp4", pack, FileMemo(cache / "known.json"))
    else:
        keep_files(folder, known, ".mp4")
    return known


def read(path: Path) -> bytes:
    with local_file(path) as file:
        assert file.name == path.name
        return file.read_bytes()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def own_scratch(tmp_path_factory, monkeypatch):
    """Temporary files of the test in a folder of its own, which is empty at the end."""
    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


NAMES = [f"clip_{number:03d}.mp4" for number in range(60)] + ["a" * 121 + ".mp4", "b-1.mp4"]


def test_few_files_hold_the_bytes_of_many(tmp_path):
    known = made(tmp_path, NAMES, 10)
    assert {path.suffix for path in tmp_path.iterdir()} == {".tar", ".csv"} and 2 < len(list(tmp_path.iterdir())) < 25
    assert stored_names(tmp_path, ".mp4") == sorted(NAMES)
    for name, data in known.items():
        path = tmp_path / name
        assert not path.exists() and is_stored(path)
        assert read(path) == data and stored_size(path) == len(data)
    assert find_part(tmp_path / NAMES[7]).sha256 == hashlib.sha256(known[NAMES[7]]).hexdigest()
    assert not is_stored(tmp_path / "clip_999.mp4") and not is_stored(tmp_path / "elsewhere" / NAMES[0])


def test_a_pack_is_a_tar_file_for_any_program(tmp_path):
    known = made(tmp_path, NAMES, 10)
    found = {}
    for pack in tmp_path.glob("*.tar"):
        with tarfile.open(pack) as archive:
            assert all((m.mtime, m.uid, m.uname) == (0, 0, "") for m in archive)
            found |= {m.name: archive.extractfile(m).read() for m in archive}
    assert found == known


def test_a_file_by_itself_is_read_where_it_is(tmp_path):
    made(tmp_path, NAMES[:3], 0)
    with local_file(tmp_path / NAMES[0]) as file:
        assert file == tmp_path / NAMES[0]
    with local_file(tmp_path / "missing.mp4") as file:
        assert file == tmp_path / "missing.mp4"
    assert stored_names(tmp_path, ".mp4") == NAMES[:3]


def test_equal_files_give_equal_packs(tmp_path):
    made(tmp_path / "a", NAMES, 7)
    made(tmp_path / "b", reversed(NAMES), 3)
    for path in (tmp_path / "b-cache").iterdir():
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    made(tmp_path / "b", reversed(NAMES), 7)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_new_clip_changes_few_packs(tmp_path):
    """What `dvc push` sends after a corpus grew by a clip in its middle."""
    many = [f"clip_{number:04d}.mp4" for number in range(0, 400, 2)]
    for name in [*many, "clip_0001.mp4", "clip_0177.mp4", "clip_0399.mp4"]:
        (tmp_path / name).write_text(name)
    known = packs_of(tmp_path, many)
    assert 200 / 40 <= len(known) <= 40
    for new in (1, 177, 399):
        assert 1 <= len(packs_of(tmp_path, [*many, f"clip_{new:04d}.mp4"]) - known) <= 2


def packs_of(folder: Path, names: list[str]) -> set[bytes]:
    """The packs of files that lie in `folder`."""
    (to := folder / "to").mkdir(exist_ok=True)
    publish_packs(to, {name: folder / name for name in names}, ".mp4", 10, FileMemo(folder / "known.json"))
    return {path.read_bytes() for path in to.glob("*.tar")}


def test_packs_that_hold_what_they_must_stay(tmp_path):
    sources = {name: tmp_path / f"source-{name}" for name in NAMES[:9]}
    for path in sources.values():
        path.write_text(path.name)
    (folder := tmp_path / "stage").mkdir()

    def publish() -> list:
        memo = FileMemo(tmp_path / "known.json")
        publish_packs(folder, sources, ".mp4", 4, memo)
        memo.save()
        return [os.stat(path).st_ctime_ns for path in sorted(folder.iterdir())]

    before = publish()
    assert publish() == before
    next(iter(sources.values())).write_text("another cut")
    assert publish() != before and read(folder / NAMES[0]) == b"another cut"
    flip(next(folder.glob("*.tar")), 520)
    publish()
    assert read(folder / NAMES[0]) == b"another cut"
    known = [*sources.values()]
    sources |= {NAMES[0]: known[1], NAMES[1]: known[0]}  # the same files under other names
    publish()
    assert read(folder / NAMES[1]) == b"another cut"


def test_a_later_run_replaces_packs_and_leftovers(tmp_path):
    made(tmp_path, NAMES, 5)
    (tmp_path / ".pack-00000.1.part.tar").write_bytes(b"of a killed run")
    (tmp_path / "notes.txt").write_text("not ours")
    known = made(tmp_path, NAMES[:4], 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "pack-00000.tar", INDEX]
    assert read(tmp_path / NAMES[3]) == known[NAMES[3]] and not is_stored(tmp_path / NAMES[4])
    made(tmp_path, [], 5)
    assert stored_names(tmp_path, ".mp4") == [] and not is_stored(tmp_path / NAMES[3])
    made(tmp_path, NAMES[:4], 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*NAMES[:4], "notes.txt"]


def test_what_is_remembered_of_a_packed_file_follows_its_content(tmp_path):
    made(tmp_path, NAMES, 5)
    path, missing = tmp_path / NAMES[3], tmp_path / "clip_999.mp4"
    (before,) = file_memo.stamps((path,))
    assert FileMemo(tmp_path / "known.json").sha256(path) == hashlib.sha256(read(path)).hexdigest()
    made(tmp_path, NAMES, 50)
    assert file_memo.stamps((path, missing)) == [before, None]
    made(tmp_path, NAMES[2:], 50)  # other bytes
    assert file_memo.stamps((path,)) != [before]
    made(tmp_path, NAMES[4:], 50)
    assert file_memo.stamps((path,)) == [None]


def row(tmp_path: Path, **changed) -> None:
    """Rewrite the row of the first file."""
    header, first, *rest = (tmp_path / INDEX).read_text().splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True)) | changed
    (tmp_path / INDEX).write_text("\n".join([header, ",".join(cells.values()), *rest, ""]))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "leads out": (lambda f: row(f, pack="../secret.tar"), "packs.csv: the row of clip_000.mp4 must be"),
    "absolute": (lambda f: row(f, pack="/etc/passwd"), "packs.csv: the row of clip_000.mp4 must be"),
    "negative": (lambda f: row(f, offset="-512"), "packs.csv: the row of clip_000.mp4 must be"),
    "beyond": (lambda f: row(f, offset=str(10**9)), "pack-00000.tar: 10240 bytes, but packs.csv says that clip_000.mp4 ends at"),
    "huge": (lambda f: row(f, bytes=str(10**17)), "packs.csv: clip_000.mp4 has 100000000000000000 bytes; at most"),
    "wrong hash": (lambda f: row(f, sha256="0" * 64), "pack-00000.tar: clip_000.mp4 is damaged"),
    "flipped": (lambda f: flip(f / "pack-00000.tar", 520), "pack-00000.tar: clip_000.mp4 is damaged"),
    "cut": (lambda f: os.truncate(f / "pack-00000.tar", 520), "pack-00000.tar: 520 bytes, but packs.csv says"),
    "no pack": (lambda f: (f / "pack-00000.tar").unlink(), "pack-00000.tar: file not found, but packs.csv names it"),
    "pipe": (lambda f: ((f / "pack-00000.tar").unlink(), os.mkfifo(f / "pack-00000.tar")), "pack-00000.tar: a pipe"),
    "half an index": (lambda f: os.truncate(f / INDEX, 100), "packs.csv: must be a table of complete rows"),
    "another table": (lambda f: (f / INDEX).write_text("id,status\n"), "packs.csv: must be a table of complete rows"),
    "bytes": (lambda f: (f / INDEX).write_bytes(os.urandom(300)), "packs.csv: must be a table of complete rows"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_line(tmp_path, kind):
    folder = tmp_path / "stage"
    made(folder, ["clip_000.mp4"], 10)
    (tmp_path / "secret.tar").write_bytes(b"s" * 20000)
    damage, expected = DAMAGE[kind]
    damage(folder)
    with pytest.raises(Unreadable) as refused:
        read(folder / "clip_000.mp4")
    assert expected in str(refused.value) and str(refused.value).startswith(str(folder))
    assert "\n" not in str(refused.value) and str(refused.value).isprintable()


def test_a_damaged_index_does_not_stop_the_stage_that_removes_it(tmp_path):
    """The error says to run the stage again, which asks its memo first."""
    (tmp_path / INDEX).write_text("damaged")
    memo = FileMemo(tmp_path / "memo.json")
    memo.keep("x", 1, [[1, 2, 3, 4]])
    assert memo.recall("x", [tmp_path / NAMES[0]]) is None
    with pytest.raises(UserError, match="packs.csv"):
        memo.sha256(tmp_path / NAMES[0])


def test_an_index_of_too_many_bytes_is_not_read(tmp_path, monkeypatch):
    made(tmp_path, NAMES[:1], 10)
    monkeypatch.setattr(packs.limits, "PACK_INDEX_BYTES", 50)
    with pytest.raises(UserError, match="such a file may have at most 50"):
        read(tmp_path / NAMES[0])


def test_an_error_about_the_copy_names_the_file_itself(tmp_path):
    made(tmp_path, NAMES[:1], 10)
    path = tmp_path / NAMES[0]
    for error in (UserError("{}: no frame"), Unreadable("{}", "no frame")):
        with pytest.raises(type(error)) as found, local_file(path) as file:
            raise Unreadable(file, "no frame") if isinstance(error, Unreadable) else UserError(f"{file}: no frame")
        assert str(found.value) == f"{path}: no frame" and getattr(found.value, "path", path) == path


def test_copies_of_killed_processes_are_removed(tmp_path, own_scratch):
    made(tmp_path, NAMES[:1], 10)
    code = (
        "import os, signal; from pathlib import Path; from dataset_tools.lib.core.packs import local_file\n"
        f"with local_file(Path({str(tmp_path / NAMES[0])!r})) as file: print(file, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"TMPDIR": str(own_scratch)}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert Path(killed.stdout.strip()).is_file()
    scratch._remove_left_over.cache_clear()
    read(tmp_path / NAMES[0])  # the fixture looks whether the folder is empty


def test_copies_of_a_machine_with_a_longer_name_stay(own_scratch, monkeypatch):
    """Machines of a cluster may share $TMPDIR: that of node must not remove what a process of node-12345678 works on."""
    monkeypatch.setattr(scratch.socket, "gethostname", lambda: "node")
    names = ["d2m-node-12345678-1-abcd_123", "d2m-node-12345678-abcd_123"]
    for name in names:
        (own_scratch / name).mkdir()
    with scratch.scratch_folder():
        assert [(own_scratch / name).is_dir() for name in names] == [True, False]
    (own_scratch / names[0]).rmdir()
