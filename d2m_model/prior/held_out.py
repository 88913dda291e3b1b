"""Scores of a prior on held-out dances during its training: P4's difference, own minus other, the number of onsets, and audio to listen to."""

import copy
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from d2m_model.generate.finish import normalise
from d2m_model.generate.held_out import LOUDNESS, PEAK, held_out_clips
from d2m_model.metrics.p4_onsets import onset_times, own_minus_other
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.prior.conditions import features_of
from d2m_model.prior.model_file import PriorModel
from d2m_model.prior.net import PriorNet
from d2m_model.prior.sampling import DRAWS, sample
from d2m_model.prior.style import Styles, style_for
from d2m_model.rhythm.beats_file import read_beats
from d2m_model.training.loop import Measurement
from d2m_model.training.shard_data import peak_gain
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import HOPS, LEVELS, frames_to_samples, frames_to_seconds

Net = TypeVar("Net", bound=nn.Module)


class PriorHeldOutScorer:
    """Scores music that a prior generates for up to `count` held-out clips, on the beats that the stage `rhythm` predicted from
    their motion. The reference is the onsets of each dance's own music. Level low is generated from the real codes of level
    high, so that its scores do not depend on another training. If the networks are on another device, copies
    on the CPU are measured.

    styles: returns the styles of the training songs for the current state of a network.

    Raises UserError as `held_out_clips` does, and for missing beats.
    """

    def __init__(
        self,
        layout: Layout,
        vqvae: JukeboxVQVAE,
        level: str,
        count: int,
        seed: int,
        styles: Callable[[PriorNet], Styles | None],
    ):
        self.shards, self.clips = held_out_clips(layout.stage("shards"), count)
        self.vqvae, self.level, self.seed, self.styles = _on_cpu(vqvae), level, seed, styles
        self.beats = {c.clip_id: read_beats(layout.stage("rhythm") / "beats" / f"{c.clip_id}.json") for c in self.clips}
        self.onsets = {c.clip_id: onset_times(self.shards.read(c.clip_id).audio) for c in self.clips}

    def measure(self, net: PriorNet) -> Measurement:
        """P4 by onsets (`own`, `other`, their `difference`), and the ratio of generated onsets to those of the real music."""
        net = _on_cpu(net)
        codebook = self.vqvae.codebook(LEVELS[self.level]).k
        model = PriorModel(net=net, codebook=codebook, level=self.level, styles=self.styles(net))
        audio = {}
        for clip in self.clips:
            made = self._generate(model, clip.clip_id, frames_to_samples(clip.frames))
            audio[clip.clip_id] = normalise(made, LOUDNESS, PEAK)
        found = {name: onset_times(wave) for name, wave in audio.items()}
        seconds = {c.clip_id: frames_to_seconds(c.frames) for c in self.clips}
        songs = {c.clip_id: c.song for c in self.clips}
        pairs = np.array(list(own_minus_other(found, self.onsets, seconds, songs).values()))
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        own, other = pairs.mean(axis=0) if len(pairs) else (0.0, 0.0)
        ratio = sum(map(len, found.values())) / max(1, sum(map(len, self.onsets.values())))
        return Measurement(
            {"P4_difference": own - other, "P4_own": own, "P4_other": other, "onsets_to_truth": ratio}, audio
        )

    def _generate(self, model: PriorModel, clip_id: str, samples: int) -> np.ndarray:
        beats, hop = self.beats[clip_id], HOPS[LEVELS[self.level]]
        rng, upper, style = torch.Generator().manual_seed(self.seed), None, None
        rhythm = features_of(beats, -(-samples // HOPS[2]) * HOPS[2] // hop, hop)
        if self.level == "low":
            audio = self.shards.read(clip_id).audio
            upper = self.vqvae.encode(torch.from_numpy(audio * peak_gain(audio))[None], LEVELS["high"])[0]
        else:
            assert model.styles is not None
            style = style_for(model.styles, "", beats, self.seed)
        codes = sample(model.net, rhythm, style, DRAWS[self.level], rng, upper=upper)
        with torch.inference_mode():
            return self.vqvae.decode(codes[None], LEVELS[self.level])[0, :samples].numpy()


def _on_cpu(net: Net) -> Net:
    """The network itself if it is on the CPU, else a copy on the CPU."""
    return net if next(net.parameters()).device.type == "cpu" else copy.deepcopy(net).cpu()
