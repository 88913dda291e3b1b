"""Dance2Music (Aggarwal & Parikh 2021, arXiv 2107.06252): similar notes where poses are similar.

A piano plays one note of a pentatonic scale every 6 frames. `offline`, the row of Table 1, searches for the notes of a whole
dance without training. `online` is a network, trained on such searches over the training dances, that predicts each note from
the dance and the notes so far.
"""

from dataclasses import dataclass

import numpy as np

from d2m_model.baselines.dance import ClipDance, Corpus, SystemParams
from d2m_model.baselines.dance2music.online import OnlineNet, OnlineTask, note_example, predict_notes
from d2m_model.baselines.dance2music.search import STEP, search, similarity
from d2m_model.baselines.score import Note
from d2m_model.training import checkpoint
from d2m_model.training.loop import train_loop
from d2m_model.training.seeding import seed_everything
from dataset_tools.lib.core.params import require
from dataset_tools.lib.core.timebase import frames_to_seconds

SCALE = (60, 62, 64, 67, 69)
"""MIDI notes: C major pentatonic from middle C."""
VELOCITY = 100
PIANO = 0
METHODS = ("offline", "online")
KIND, VERSION = "dance2music", 1


@dataclass(frozen=True, kw_only=True)
class Params(SystemParams):
    """Section `baselines.dance2music` of params.yaml. All fields except `method` and `beam` are for training the online network."""

    method: str = "offline"
    beam: int = 50
    """Hypotheses that the search keeps after each note."""
    batch: int = 32
    """Notes per step."""
    steps: int = 2000
    learning_rate: float = 1e-3

    def __post_init__(self):
        super().__post_init__()
        require(self.method in METHODS, f"method must be {' or '.join(METHODS)}, found '{self.method}'")
        for name in ("beam", "steps"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.learning_rate > 0, f"learning_rate must be above 0, found {self.learning_rate}")


@dataclass(frozen=True)
class Dance2Music:
    """The model: the network, or without one the search."""

    beam: int
    net: OnlineNet | None = None


def train(corpus: Corpus, params: Params) -> Dance2Music:
    """Offline: trains nothing. Online: train on the notes that the search finds for the training dances, and write model.pt,
    metrics.json and curves.csv.

    Raises UserError for a loss that is not finite, and for shards without a pose.
    """
    corpus.require_pose()
    if params.method == "offline":
        for name in ("model.pt", "metrics.json", "curves.csv"):  # of an earlier online network
            (corpus.folder / name).unlink(missing_ok=True)
        return Dance2Music(params.beam)
    device = seed_everything(params.seed, params.threads)
    examples = [note_example(dance.pose[:, 0], params.beam) for dance in corpus.training_dances()]
    run = corpus.run(params, [corpus.layout.stage("shards")])
    task = OnlineTask(examples, params.learning_rate, params, device)
    curves = train_loop(task, params.steps, params, run)
    net = task.net.cpu().eval()
    metrics = {
        "dances": len(examples), "notes": sum(len(example.notes) for example in examples), "steps": params.steps,
        "parameters": sum(p.numel() for p in net.parameters()),
    }  # fmt: skip
    checkpoint.save(corpus.folder / "model.pt", KIND, VERSION, {"net": net.state_dict()}, {})
    corpus.publish(run, curves, metrics)
    return Dance2Music(params.beam, net)


def about(corpus: Corpus, params: Params) -> str:
    """For the note under Table 1."""
    layout = corpus.train.info.pose_layout
    joints = f"the joints of {layout}" + ("" if layout == "body25" else " instead of BODY_25's")
    if params.method == "offline":
        return f"the published offline search on {joints}; a piano; nothing is trained"
    return f"the online network on {joints}, distilled from the offline search on the training dances, {params.steps} steps; a piano"


def compose(model: Dance2Music, dance: ClipDance) -> list[Note]:
    """Piano notes for one dance: one every 0.2 s, with repeated notes held."""
    pose = dance.pose[:, 0]
    steps = predict_notes(model.net, similarity(pose)) if model.net else search(similarity(pose), model.beam)
    return hold_notes(steps, dance.frames)


def hold_notes(steps: np.ndarray, frames: int) -> list[Note]:
    """Scale steps (N,) as piano notes that fill `frames`; equal steps in a row are one note."""
    changes = np.flatnonzero(np.diff(steps, prepend=-1))
    ends = np.append(changes[1:] * STEP, frames)
    return [
        Note(frames_to_seconds(int(a * STEP)), frames_to_seconds(int(b)), SCALE[steps[a]], VELOCITY, PIANO)
        for a, b in zip(changes, ends, strict=True)
    ]
