"""Transcribes audio into a score with basic-pitch (Bittner et al., ICASSP 2022) and its ONNX network."""

import contextlib
import io
import logging
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from d2m_model.baselines.score import Note
from d2m_model.generate.finish import write_wav
from dataset_tools.lib.core.errors import UserError, install_command

LIBRARY = "basic-pitch"


def transcribe(audio: np.ndarray) -> list[Note]:
    """Notes of one instrument, sorted by start, in audio (S,) at 22 050 Hz; deterministic. Drums are not recognised as drums.

    Raises UserError where basic-pitch or its ONNX runtime is not installed.
    """
    with (
        tempfile.TemporaryDirectory(prefix="d2m-") as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # from its imports, and for silence
        inference, network = _library()
        path = Path(folder) / "audio.wav"  # the library reads files only
        write_wav(path, audio)
        found = inference.predict(path, network)[2]
    return sorted(
        Note(float(start), float(end), int(pitch), max(1, min(127, round(127 * float(loudness)))))
        for start, end, pitch, loudness, _ in found
    )


@lru_cache(maxsize=1)
def _library() -> tuple[ModuleType, object]:
    """The module basic_pitch.inference and the loaded network."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it warns about every other runtime that is not installed
    try:
        import basic_pitch
        from basic_pitch import inference

        path = basic_pitch.build_icassp_2022_model_path(basic_pitch.FilenameSuffix.onnx)
        if not basic_pitch.ONNX_PRESENT or not path.is_file():
            raise ImportError("no ONNX")
        return inference, inference.Model(path)
    except ImportError:
        raise UserError(
            f"{LIBRARY} with onnxruntime is not installed, which transcribes training music that has no score; "
            f"{install_command('basic_pitch')}"
        ) from None
    finally:
        logging.disable(before)
