"""Fingerprints of a corpus's clips: computed by several processes or machines, and kept for the next run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.core.array_file import write_npy
from dataset_tools.lib.core.atomic import remove_partial_files
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.file_memo import FileMemo, stamps
from dataset_tools.lib.core.packs import local_file
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.core.work_cache import is_complete_array, item_key
from dataset_tools.lib.parallel.carrier import ItemFiles
from dataset_tools.lib.parallel.workers import run_all

VERSION = 1  # of `fingerprint.fingerprint`; raise it when the same audio gives another fingerprint


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One clip without a fingerprint."""

    clip_id: str
    audio: Path
    kept: Path


def keep_prints(audio: dict[str, Path], cache: Path, memo: FileMemo, workers: int) -> dict[str, Path]:
    """Compute the fingerprints that are not in the folder `cache`. Returns clip id -> the .npy file of its fingerprint.

    audio: clip id -> its audio, mono at 22 050 Hz. memo: what is known of the audio and of the kept fingerprints. workers: as in `run_all`. Raises UserError for audio that is damaged or of
    another kind.
    """
    remove_partial_files(cache)
    hashes = memo.hash_all(list(audio.values()), "split: hashing")
    memo.save()
    jobs = [
        _Job(clip_id=clip_id, audio=path, kept=cache / f"{item_key(VERSION, sha256)}.npy")
        for (clip_id, path), sha256 in zip(audio.items(), hashes, strict=True)
    ]
    unknown = [job for job in jobs if not memo.recall(job.kept.name, (job.kept,))]
    todo = [job for job in unknown if not is_complete_array(job.kept)]
    run_all(_keep, todo, workers, "split: fingerprints", files=_files_of)
    for job in unknown:
        memo.keep(job.kept.name, True, stamps((job.kept,)), own=True)
    memo.save()
    return {job.clip_id: job.kept for job in jobs}


def _files_of(job: _Job) -> ItemFiles:
    return ItemFiles(inputs=(job.audio,), outputs=(job.kept,))


def _keep(job: _Job) -> None:
    from dataset_tools.split.fingerprint import fingerprint

    write_npy(job.kept, fingerprint(_read_audio(job.audio)))


def _read_audio(path: Path) -> np.ndarray:
    try:
        with local_file(path) as file:
            found = read_samples(file)
    except Unreadable as err:
        raise UserError(f"{path}: not readable ({err.reason}); run python -m dataset_tools.audio again") from None
    if found.rate != SAMPLE_RATE or found.channels != 1:
        raise UserError(
            f"{path}: must be mono at {SAMPLE_RATE} Hz, found {found.channels} channels at {found.rate}; run python -m dataset_tools.audio again"
        )
    return found.audio[:, 0]
