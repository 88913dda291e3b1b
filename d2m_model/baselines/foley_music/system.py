"""Foley Music (Gan et al., ECCV 2020): a graph network encodes the dance, and a Music Transformer composes for the piano.

It is trained on pairs of dance and score: the songs' own scores, if the corpus has them (all pitched voices, on one piano), else
transcripts of the training clips' music by basic-pitch.
"""

import json
import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F

from d2m_model.baselines.dance import ClipDance, Corpus, SystemParams, Unmeasured
from d2m_model.baselines.foley_music import events
from d2m_model.baselines.foley_music.net import FoleyNet, FoleySizes, Past
from d2m_model.baselines.foley_music.pose import (
    POSE_FPS,
    WINDOW,
    at_speed,
    in_mirror,
    random_move,
    resample_pose,
    window,
)
from d2m_model.baselines.foley_music.search import PianoState, beam_search
from d2m_model.baselines.score import Note, cut, read_midi
from d2m_model.baselines.transcription import LIBRARY, transcribe
from d2m_model.training import checkpoint
from d2m_model.training.acceleration import accelerate
from d2m_model.training.loop import FiniteLossGuard, backward_and_step, train_loop
from d2m_model.training.schedules import noam
from d2m_model.training.seeding import generator, seed_everything
from dataset_tools.lib.core.params import require
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import frames_to_seconds

KIND, VERSION = "foley_music", 1
SECONDS = WINDOW / POSE_FPS
STRETCH = 7 / 6


@dataclass(frozen=True, kw_only=True)
class Params(SystemParams):
    """Section `baselines.foley_music` of params.yaml; the defaults are the published sizes."""

    width: float = 1.0
    """Factor of the channels of both networks: 512 features, 1024 hidden, 64 to 256 in the graph."""
    depth: float = 1.0
    """Factor of the decoder's 6 layers and of the encoder's 4 + 3 + 3 blocks."""
    dropout: float = 0.1
    aided: bool = False
    """Additions to the published system, for corpora of few clips: windows are cropped, mirrored, up to a sixth slower or faster,
    and transposed; the encoder also reads velocities; each event gets its time and the dance's feature at that time."""
    epochs: int = 100
    warm_up: int = 4000
    """Steps over which the learning rate rises, at most a fifth of all steps."""
    beam: int = 5
    """Hypotheses of the beam search."""
    events: int = 512
    """Most events of a window of 6 s."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("width", "depth"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("epochs", "warm_up", "beam", "events"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.events <= events.LIMIT, f"events must be at most {events.LIMIT}, found {self.events}")
        require(0 <= self.dropout < 1, f"dropout must be at least 0 and below 1, found {self.dropout}")


@dataclass(frozen=True)
class FoleyModel:
    """A trained network and the settings of its beam search."""

    net: FoleyNet
    beam: int
    events: int = events.LIMIT


@dataclass(frozen=True)
class Example:
    """A training clip."""

    pose: np.ndarray
    """(T, J, 3) at 22 fps."""
    notes: list[Note]
    """Times are seconds from the clip's start."""
    seconds: float


class FoleyData:
    """Windows of 6 s from random places in the training clips; an epoch has as many windows of a clip as fit into it. varied:
    augment the clips, see `Params.aided`."""

    def __init__(self, examples: list[Example], varied: bool = False):
        self.examples, self.varied = examples, varied
        self.windows = [i for i, e in enumerate(examples) for _ in range(max(1, round(e.seconds / SECONDS)))]

    def batch(self, seed: int, step: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Batch number `step`: dances (B, 132, J, 3), numbers of their frames (B,), and tokens (B, N), padded with PAD."""
        drawn, random = [], generator(seed, "windows", step)
        for place in range(step * size, (step + 1) * size):
            epoch, index = divmod(place, len(self.windows))
            order = torch.randperm(len(self.windows), generator=generator(seed, "epoch", epoch))
            example = self.examples[self.windows[order[index]]]
            shortest = WINDOW
            if self.varied:
                example, shortest = vary_clip(example, random), WINDOW // 2
            last = max(0, len(example.pose) - shortest)
            drawn.append(window_of(example, int(torch.randint(last + 1, (1,), generator=random))))
        tokens = torch.nn.utils.rnn.pad_sequence([w for _, _, w in drawn], batch_first=True, padding_value=events.PAD)
        poses = random_move(torch.from_numpy(np.stack([pose for pose, _, _ in drawn])), random)
        return poses, torch.tensor([frames for _, frames, _ in drawn]), tokens


def window_of(example: Example, start: int) -> tuple[np.ndarray, int, torch.Tensor]:
    """The window of a clip from frame `start` on: pose (132, J, 3), number of frames, and tokens."""
    pose, frames = window(example.pose, start)
    begin = start / POSE_FPS
    return pose, frames, torch.tensor(events.encode(cut(example.notes, begin, min(SECONDS, example.seconds - begin))))


def vary_clip(example: Example, random: torch.Generator) -> Example:
    """A clip at a random speed, in a random key, mirrored with a probability of one half."""
    faster, key, mirror = torch.rand(3, generator=random).tolist()
    speed, semitones = STRETCH ** (2 * faster - 1), math.floor(13 * key) - 6
    pose = at_speed(example.pose, speed)
    if mirror < 0.5:
        pose = in_mirror(pose)
    notes = [n._replace(start=n.start / speed, end=n.end / speed, pitch=n.pitch + semitones) for n in example.notes]
    return Example(pose, notes, example.seconds / speed)


class FoleyTask(Unmeasured):
    """Trains the network to predict the next event of a score."""

    def __init__(self, sizes: FoleySizes, data: FoleyData, steps: int, params: Params, device: torch.device):
        self.data, self.params, self.device, self.net = data, params, device, FoleyNet(sizes).to(device)
        self.warm_up = min(params.warm_up, max(1, steps // 5))
        self.nets = {"net": self.net}
        self.optimizers = {"net": torch.optim.Adam(self.net.parameters(), 1.0, betas=(0.9, 0.98), eps=1e-9)}
        accelerate(self.net, device, params.precision, "never")

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One optimizer step on the cross-entropy of the tokens; returns the loss and the accuracy."""
        pose, frames, tokens = (
            part.to(self.device) for part in self.data.batch(self.params.seed, number, self.params.batch)
        )
        self.net.train()
        logits = self.net(tokens[:, :-1], self.net.dance_keys(pose, frames))
        target = tokens[:, 1:]
        terms = {"loss": F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=events.PAD)}
        guard(number, terms)
        backward_and_step(terms["loss"], self.optimizers["net"], self.params.gradient_norm)
        real = target != events.PAD
        return terms | {"accuracy": (logits.argmax(-1) == target)[real].float().mean()}

    def rate_share(self, number: int) -> float:
        """The learning rate at a step; the optimizer's own rate is 1."""
        return noam(number, self.net.sizes.features, self.params.warm_up, self.warm_up)


def network_sizes(params: Params, joints: int) -> FoleySizes:
    """Sizes of the networks for dances with `joints` joints."""
    return FoleySizes(joints=joints, width=params.width, depth=params.depth, dropout=params.dropout, aided=params.aided)


def training_examples(corpus: Corpus) -> tuple[list[Example], str]:
    """(training clips with their notes, origin of the notes)."""
    scores, shards, found = corpus.scores(), corpus.train, []
    songs = {song: read_midi(path) for song, path in scores.items()}
    known = {clip.clip_id: corpus.song_start(clip.clip_id) for clip in shards.clips}
    origin = "scores" if all(c.song in songs and known[c.clip_id] is not None for c in shards.clips) else LIBRARY
    for clip in progress(shards.clips, f"{KIND} {origin}", unit="clip"):
        seconds = frames_to_seconds(clip.frames)
        whole = shards.read(clip.clip_id)
        start = known[clip.clip_id]
        if origin == "scores" and start is not None:
            notes = cut(songs[clip.song], start, seconds)
        else:
            notes = transcribe(whole.audio)
        found.append(Example(resample_pose(whole.pose), notes, seconds))
    return found, origin


def train(corpus: Corpus, params: Params) -> FoleyModel:
    """Train on the training split; writes model.pt, metrics.json and curves.csv.

    Raises UserError for a loss that is not finite, for shards without a pose, and where basic-pitch is needed but not installed.
    """
    corpus.require_pose()
    device = seed_everything(params.seed, params.threads)
    examples, origin = training_examples(corpus)
    data = FoleyData(examples, params.aided)
    sizes = network_sizes(params, corpus.train.info.joints)
    steps = math.ceil(params.epochs * len(data.windows) / params.batch)
    run = corpus.run(params, [*corpus.scores().values(), corpus.layout.stage("shards")])
    task = FoleyTask(sizes, data, steps, params, device)
    curves = train_loop(task, steps, params, run)
    net = task.net.cpu().eval()
    metrics = {
        "trained_on": origin, "steps": steps, "clips": len(examples), "notes": sum(len(e.notes) for e in examples),
        "parameters": sum(p.numel() for p in net.parameters()),
    }  # fmt: skip
    checkpoint.save(corpus.folder / "model.pt", KIND, VERSION, {"net": net.state_dict()}, asdict(sizes))
    corpus.publish(run, curves, metrics)
    return FoleyModel(net, params.beam, params.events)


def about(corpus: Corpus, params: Params) -> str:
    """For the note under Table 1: the training data, from the metrics.json that `train` wrote."""
    found = json.loads((corpus.folder / "metrics.json").read_text())
    source = (
        "the songs' own scores"
        if found["trained_on"] == "scores"
        else f"transcripts of the training music by {LIBRARY}"
    )
    size = (
        ""
        if (params.width, params.depth) == (1, 1)
        else f", width {params.width:g} and depth {params.depth:g} of the published sizes"
    )
    aids = ", with additions for few clips that the published system lacks" if params.aided else ""
    return f"trained on {source} and {found['clips']} dances, {found['steps']} steps{size}{aids}; a piano"


@torch.no_grad()
def compose(model: FoleyModel, dance: ClipDance) -> list[Note]:
    """Piano notes for one dance. A dance longer than 6 s is composed in windows of 6 s. The last window ends with the dance; of its
    notes only those after the previous window are kept."""
    pose, total = resample_pose(dance.pose), frames_to_seconds(dance.frames)
    last, composed, notes = max(0, len(pose) - WINDOW), 0.0, []
    for start in [*range(0, last, WINDOW), last]:
        begin = start / POSE_FPS
        found = play_window(model, *window(pose, start), min(SECONDS, total - begin))
        notes += [
            n._replace(start=begin + n.start, end=min(begin + n.end, total))
            for n in found
            if begin + n.start >= composed
        ]
        composed = begin + SECONDS
    return sorted(notes)


def play_window(model: FoleyModel, pose: np.ndarray, frames: int, seconds: float) -> list[Note]:
    """Notes for a window (132, J, 3), of which the first `frames` are valid, found by beam search."""
    net = model.net.eval()
    seen = net.dance_keys(torch.from_numpy(pose)[None], torch.tensor([frames]))
    past = Past(len(net.layers))

    def follow(rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        if past.clock is not None:
            past.pick(torch.from_numpy(rows))
        logits = net(torch.from_numpy(tokens)[:, None], seen.repeated(len(tokens)), past)
        return logits[:, 0].log_softmax(-1).double().numpy()

    state = PianoState(seconds)
    return events.decode(beam_search(follow, events.SOS, events.EOS, state, model.beam, model.events))
