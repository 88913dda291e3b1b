"""A film that takes all time or memory costs its own row, and no other's."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataset_tools.download import sandbox, stream_clocks
from dataset_tools.download.classify import classify
from dataset_tools.download.complete_file import check_complete
from dataset_tools.download.errors import NotAVideo, Refused
from dataset_tools.download.sandbox import run_sandboxed
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel import workers
from dataset_tools.lib.parallel.workers import ProcessLost
from dataset_tools.lib.video import media
from tests.dataset_tools.download.test_download import run
from tests.helpers.film_site import corpus
from tests.helpers.footage import numbered_video, tone, with_edits


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return numbered_video(tmp_path_factory.mktemp("film") / "film.mp4", 30, 1, tone(1))


def test_a_film_of_a_million_edits_costs_its_row_alone(tmp_path, film):
    layout = corpus(tmp_path, {name: f"../../../manifests/c/{name}.mp4" for name in ("a", "many", "b")})
    for name in "ab":
        shutil.copy(film, layout.manifest / f"{name}.mp4")
    with_edits(film, layout.manifest / "many.mp4", 1_000_000)
    begun = time.monotonic()
    rows = run(layout)
    assert {name: row.status for name, row in rows.items()} == {"a": "ok", "many": "permanent", "b": "ok"}
    assert "its edit list has 1000000 entries, but at most 1000 are read" in rows["many"].reason
    assert time.monotonic() - begun < 20
    for walk in (
        stream_clocks.find_step_back,
        stream_clocks.read_span,
        lambda path: stream_clocks.join_pieces([path], tmp_path / "out.mp4"),
        media.probe,
    ):
        with pytest.raises(UserError, match="edit list"):
            walk(layout.manifest / "many.mp4")


def test_a_film_may_have_edits_and_tracks(tmp_path, film):
    assert check_complete(with_edits(film, tmp_path / "edited.mp4", 5)) > 0
    track = film.read_bytes()
    begin = track.index(b"trak") - 4
    size = int.from_bytes(track[begin : begin + 4], "big")
    at = track.index(b"moov") - 4
    moov = int.from_bytes(track[at : at + 4], "big") + 3000 * size
    many = tmp_path / "tracks.mp4"
    many.write_bytes(
        track[:at]
        + moov.to_bytes(4, "big")
        + track[at + 4 : begin]
        + 3000 * track[begin : begin + size]
        + track[begin:]
    )
    with pytest.raises(NotAVideo, match="over 200 tracks"):
        check_complete(many)


def test_packets_have_an_end(film, monkeypatch):
    monkeypatch.setattr(media, "VIDEO_PACKETS", 20)
    with pytest.raises(NotAVideo, match="over 20 packets"):
        check_complete(film)


def asleep(path):
    time.sleep(1000)


def gone(path):
    os.abort()


def hungry(path):
    return len(bytearray(3 << 30))


def refusing(path):
    raise Refused("transient", f"{path.name} may not")


def place(path):
    return os.getpid()


def test_what_cannot_be_ended_from_inside_is_ended_from_outside(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "SCAN_MEMORY", 2 << 30)
    path = tmp_path / "film"
    path.write_bytes(b"0")
    first = run_sandboxed(place, path)
    assert first not in (os.getpid(),) and run_sandboxed(place, path) == first, "the process is used again"
    for function, status, words in [
        (hungry, "failed", "can't be read in 2 GiB of memory"), (gone, "failed", "can't be read to its end: the process .* SIGABRT"),
        (refusing, "transient", "film may not"),
    ]:  # fmt: skip
        with pytest.raises(Refused, match=words) as caught:
            run_sandboxed(function, path)
        assert caught.value.status == status
    monkeypatch.setattr(sandbox, "SCAN_SECONDS", 1)
    begun = time.monotonic()
    with pytest.raises(Refused, match="took more than 1 s and was stopped"):
        run_sandboxed(asleep, path)
    assert time.monotonic() - begun < 15
    monkeypatch.undo()
    assert run_sandboxed(place, path) != first


def test_memory_that_is_lacking_says_nothing_of_the_film(tmp_path, film, monkeypatch):
    def no_memory(*_, **__):
        raise media.av.error.MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr(media.av, "open", no_memory)
    with pytest.raises(media.NotEnoughMemory, match="not enough memory") as caught:
        check_complete(film)
    assert classify(caught.value)[0] == "failed"


def test_a_worker_that_died_while_it_waited_is_no_items_fault():
    path = Path("film")
    process = run_sandboxed(place, path)
    workers._thread_local.process.stop()
    time.sleep(0.2)
    assert run_sandboxed(place, path) != process
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: run_sandboxed(place, path), range(2)))
    assert all(found != os.getpid() for found in both)
    assert run_sandboxed(place, path) not in both, "a process ends with its thread"
    with pytest.raises(ProcessLost):
        workers.call_in_process(gone, path, timeout=9, memory=1 << 40)
