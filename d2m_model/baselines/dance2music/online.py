"""Dance2Music's online network: predicts the next note from the last 60 poses and the last 10 notes. Trained on the search's notes.

The sizes are the published ones. These details are not published and are our choice: max pooling by 2 after each of the first
five convolutions, which reduces 60 x 60 to 1 x 1; similarities standardised per window, like in a correlation; zeros and a
sixth note before the start of the dance.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.baselines.dance import Unmeasured
from d2m_model.baselines.dance2music.search import HISTORY, NOTES, STEP, search, similarity
from d2m_model.training.command import TrainingParams
from d2m_model.training.loop import FiniteLossGuard, backward_and_step
from d2m_model.training.seeding import generator

POSES = STEP * HISTORY
"""Frames that the network reads: 2 s."""
CHANNELS = (64, 128, 128, 256, 512, 32)
EMBEDDING, HIDDEN = 16, 32
MLP = (512, 256, 128)
BEFORE = NOTES
"""Index that stands for notes before the first one."""


class OnlineNet(nn.Module):
    """Predicts the logits of the next note."""

    def __init__(self):
        super().__init__()
        widths = (1, *CHANNELS)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.embedding = nn.Embedding(NOTES + 1, EMBEDDING)
        self.memory = nn.LSTM(EMBEDDING, HIDDEN, num_layers=2, bidirectional=True, batch_first=True)
        sizes = (CHANNELS[-1] + 2 * HIDDEN, *MLP)
        layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        self.mlp = nn.Sequential(*layers, nn.Linear(MLP[-1], NOTES))

    def forward(self, dance: torch.Tensor, notes: torch.Tensor) -> torch.Tensor:
        """dance (B, 60, 60): standardised similarities of the last poses; notes (B, 10) int64, the latest last -> (B, 5)."""
        seen = dance[:, None]
        for convolution in self.convolutions[:-1]:
            seen = F.max_pool2d(F.relu(convolution(seen)), 2)
        seen = self.convolutions[-1](seen).flatten(1)
        _, (hidden, _) = self.memory(self.embedding(notes))
        return self.mlp(torch.cat([seen, hidden[-2], hidden[-1]], dim=1))


class NoteExample(NamedTuple):
    """A training dance and the notes that the search found for it."""

    similarity: np.ndarray
    """(T, T)."""
    notes: np.ndarray
    """(N,): steps 0..4 of the scale."""


def note_example(pose: np.ndarray, beam: int) -> NoteExample:
    """The training example of one dancer (T, J, 3), with the notes of the search."""
    dance = similarity(pose)
    return NoteExample(dance, search(dance, beam))


def dance_window(dance: np.ndarray, note: int) -> np.ndarray:
    """Network input (60, 60) float32 for note number `note` of a dance with similarities (T, T): those of the 60 frames up to the
    end of the note, standardised, with zeros for missing frames."""
    stop = STEP * (note + 1)
    first, last = max(0, stop - POSES), min(stop, len(dance))
    window = dance[first:last, first:last]
    spread = window.std()
    framed = np.zeros((POSES, POSES), np.float32)
    at = first - (stop - POSES)
    inside = slice(at, at + last - first)
    framed[inside, inside] = (window - window.mean()) / spread if spread > 1e-9 else 0.0
    return framed


def note_history(notes: np.ndarray, note: int) -> np.ndarray:
    """Network input (10,) int64 for note number `note`: the notes before it, the latest last."""
    return np.concatenate([np.full(HISTORY, BEFORE), notes[:note]])[-HISTORY:].astype(np.int64)


class OnlineTask(Unmeasured):
    """Trains the network to predict the search's next note from the search's previous notes."""

    def __init__(self, examples: list[NoteExample], learning_rate: float, params: TrainingParams, device: torch.device):
        self.examples, self.params, self.device = examples, params, device
        self.places = [(example, note) for example in examples for note in range(len(example.notes))]
        self.net = OnlineNet().to(device)
        self.nets = {"net": self.net}
        self.optimizers = {"net": torch.optim.Adam(self.net.parameters(), learning_rate)}

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One optimizer step on the cross-entropy of the notes; returns the loss and the accuracy."""
        picked = torch.randint(
            len(self.places), (self.params.batch,), generator=generator(self.params.seed, "notes", number)
        )
        examples = [self.places[i] for i in picked.tolist()]
        dance = torch.from_numpy(np.stack([dance_window(example.similarity, note) for example, note in examples])).to(
            self.device
        )
        notes = torch.from_numpy(np.stack([note_history(example.notes, note) for example, note in examples])).to(
            self.device
        )
        target = torch.tensor([int(example.notes[note]) for example, note in examples], device=self.device)
        self.net.train()
        logits = self.net(dance, notes)
        loss = F.cross_entropy(logits, target)
        guard(number, {"loss": loss})
        backward_and_step(loss, self.optimizers["net"], self.params.gradient_norm)
        return {"loss": loss, "accuracy": (logits.argmax(1) == target).float().mean()}


@torch.no_grad()
def predict_notes(net: OnlineNet, dance: np.ndarray) -> np.ndarray:
    """Steps of the scale (ceil(T / 6),) for similarities (T, T): each the likeliest note after the network's own previous notes. No
    note depends on the dance after it."""
    net = net.eval()
    notes = np.zeros(0, np.int64)
    for note in range(-(-len(dance) // STEP)):
        logits = net(
            torch.from_numpy(dance_window(dance, note))[None], torch.from_numpy(note_history(notes, note))[None]
        )
        notes = np.append(notes, int(logits.argmax()))
    return notes
