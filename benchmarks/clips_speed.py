"""Measures whether the speed of the stages clips and audio is that of their codecs.

    python -m benchmarks.clips_speed [--clips N] [--root DIR] [--repeats R]

Three things are timed in turns: the first N clips, cut like in a worker process of the stage (while one clip is encoded, the
next one is decoded, cropped and scaled); the bare encoder on the same pictures and audio; and all steps before the encoding.
Then the stage audio is compared with bare decoding, resampling and writing of the same audio. The bare encoder runs alone and
next to another process that decodes, like in the stage, because two cores may share caches, memory and clock. The first clip is
decoded before any encoding; with few clips this is a large share.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scipy.io import wavfile
from tabulate import tabulate

from benchmarks.turns import in_turns, parse_arguments
from dataset_tools.audio import stage as audio
from dataset_tools.clips import stage as clips
from dataset_tools.clips.normalise import Cut
from dataset_tools.clips.params import Params
from dataset_tools.clips.rows import ClipRow
from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.schema import Song, read_records
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_samples
from dataset_tools.lib.parallel import orphans
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.video.video_io import read_audio, write_clip


@contextmanager
def busy(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a loop in another process during the block."""

    def again() -> None:
        while True:
            work()

    process = orphans.start_process("fork", again)
    try:
        yield
    finally:
        process.kill()
        process.join()


def main() -> None:
    args, layout = parse_arguments("clips_speed", __doc__)
    params = load_params(layout.params, "clips", Params)
    videos = {row.id: row for row in read_records(layout.stage("download") / "rows.csv", DownloadRow)}
    cuts = load_manifest(layout.stage("sources")).clips[: args.clips]
    with tempfile.TemporaryDirectory() as name:
        folder, turn = Path(name), iter(range(1000))

        def jobs() -> list[clips.Job]:
            shared = {
                "videos": layout.stage("download"),
                "target": folder,
                "cache": folder / str(next(turn)),
                "params": params,
                "advice": "",
            }
            return [clips.Job(clip=c, song=Song(song_id=c.song_id), video=videos[c.video_id], **shared) for c in cuts]

        def cut() -> list[ClipRow]:
            return run_all(clips.cut, jobs(), 1, "clips", prepare=clips.ClipDecoder())

        def decoded() -> Iterator[Cut]:
            return map(clips.ClipDecoder(), jobs())

        made = [(list(cut.frames), cut.audio, cut.rate) for cut in decoded()]
        rows = cut()
        assert all(row.status == "ok" for row in rows), [row.reason for row in rows]

        def encode() -> None:
            for pictures, track, rate in made:
                write_clip(folder / "bare.mp4", pictures, track, rate)

        def prepare() -> None:
            for _ in decoded():
                pass

        def encode_beside() -> None:
            with busy(prepare):
                encode()

        def write_audio() -> None:
            for row in rows:
                audio.extract((folder, folder, row))

        def bare_audio() -> None:
            for row in rows:
                found = read_audio(folder / f"{row.id}.mp4", 0.0, row.frames / FPS)
                mono = audio.to_corpus_audio(*found, frames_to_samples(row.frames))
                wavfile.write(folder / "bare.wav", SAMPLE_RATE, mono)

        encoder, beside, before, stage = in_turns(args.repeats, encode, encode_beside, prepare, cut)
        codec, extraction = in_turns(args.repeats, bare_audio, write_audio)
    frames = sum(row.frames for row in rows)
    table = [
        ("clips", len(cuts) / stage, frames / stage, encoder / stage),
        ("its bare encoder, same pictures", len(cuts) / encoder, frames / encoder, 1.0),
        ("the same, the other core busy", len(cuts) / beside, frames / beside, encoder / beside),
        ("what comes before its encoder", len(cuts) / before, frames / before, encoder / before),
        ("audio", len(cuts) / extraction, frames / extraction, codec / extraction),
        ("its bare decoder, resampler, writer", len(cuts) / codec, frames / codec, 1.0),
    ]
    print(tabulate(table, ["one process", "clips/s", "frames/s", "of the bare"], floatfmt=("", ".2f", ".0f", ".2f")))


if __name__ == "__main__":
    main()
