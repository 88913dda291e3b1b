"""Scores folders of audio files: names of systems and seeds, and the controls that need no corpus."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from d2m_model.evaluate.all_systems import LazyAudio, MusicDatabase, Result, score
from d2m_model.evaluate.kept_scores import KeptScores
from d2m_model.evaluate.params import Params
from d2m_model.metrics.controls import control_audio
from d2m_model.metrics.embedding import Embedder
from d2m_model.metrics.inputs import read_audio, training_files
from d2m_model.metrics.paired_folders import PairedSystems
from d2m_model.metrics.scoring import Reference
from d2m_model.metrics.systems import is_control
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.names import check_label

ALONE = "generated"
"""Name of a single folder without a given name."""
SEED_FOLDER = re.compile(r"seed[ _-]?\d+")


def named_folders(given: Sequence[str]) -> dict[str, Path]:
    """{system: folder} from `NAME=DIR` or `DIR`. DIR is named after its folder; a folder `seed0` in `ours` is called `ours/seed0`.

    Raises UserError for two equal names, the name of a control, and a name that is not one line of text.
    """
    found = []
    for text in given:
        name, sign, folder = text.partition("=")
        if sign and name and folder and not Path(text).is_dir():
            found.append((name, Path(folder)))
            continue
        path = Path(text).resolve()
        inner = f"{path.parent.name}/{path.name}" if SEED_FOLDER.fullmatch(path.name) else path.name
        found.append((ALONE if len(given) == 1 else inner, Path(text)))
    for name, _ in found:
        try:
            check_label(name, "a system's name")
        except ValueError as err:
            raise UserError(f"--generated: {err}") from None
        if is_control(name):
            raise UserError(f"--generated: '{name}' can't be a system's name: a control has it; write NAME=DIR")
    if (twice := Counter(name for name, _ in found).most_common(1)[0])[1] > 1:
        raise UserError(f"--generated: {twice[1]} folders are called '{twice[0]}'; give them names: NAME=DIR")
    return dict(found)


def score_folders(
    pairs: PairedSystems, params: Params, kept: KeptScores, train: Path | None = None, embedder: Embedder | None = None
) -> tuple[dict, Result]:
    """Score systems and the controls that need no codec: ({'clips', 'songs', 'remarks', 'systems', ...}, scores of each system).

    train, embedder : a folder of training music and its embedding, for genre accuracy, novelty and distances.
    """
    reference = Reference(audio=pairs.reference, songs=pairs.songs)
    known = {str(path): genre for path, genre in training_files(train)} if train else {}
    files = list(known)

    def draw(rng: np.random.Generator) -> np.ndarray:
        return read_audio(Path(files[int(rng.integers(len(files)))]))

    drawn = draw if train else None
    systems = dict(pairs.systems) | control_audio(pairs.reference, reference.song_of, params.seed, drawn)
    music = None
    if train and embedder:
        music = MusicDatabase(
            embedder=embedder,
            audio=LazyAudio(files, lambda path: read_audio(Path(path))),
            genres=known,
            source=f"music in {train.name}",
        )
    kinds = dict.fromkeys(pairs.systems, "model")
    result = score(systems, kinds, reference, params, kept, genres=pairs.genres, music=music)
    without = ["VQ reconstruction, which a corpus's levels give"] + (
        [] if train else ["random training song, which --train gives"]
    )
    remarks = [*pairs.remarks, f"controls that are not here: {'; '.join(without)}"]
    metrics = {
        "clips": len(pairs.reference),
        "songs": len(set(pairs.songs.values())) if pairs.songs else None,
        "remarks": remarks,
    }
    return metrics | result.facts | {"systems": result.systems}, result
