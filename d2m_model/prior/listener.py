"""How a prior's music follows held-out dances while it is still learning: P4's difference, onsets, and sounds to hear."""

from collections.abc import Callable

import numpy as np

from d2m_model.generation.finish import normalise
from d2m_model.generation.listening import LOUDNESS, PEAK, held_out_clips
from d2m_model.metrics.onset_alignment import onset_times, own_minus_other
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.prior.model_file import PriorModel, load_prior
from d2m_model.prior.net import PriorNet
from d2m_model.prior.player import DRAWS, Player
from d2m_model.prior.style import Styles
from d2m_model.rhythm.beats_file import read_beats
from d2m_model.training.loop import Measurement
from dataset_tools.base.layout import Layout
from dataset_tools.base.timebase import LEVELS, frames_to_samples, frames_to_seconds


class PriorListener:
    """Up to `count` held-out clips under the rhythm that the stage `rhythm` reads from their motion; the reference is the
    onsets of each dance's own music.

    styles: gives the styles of the training songs as a network that is still learning sees them.

    Raises UserError as `held_out_clips` does, and where level high, which low is made from, is not there.
    """

    def __init__(self, layout: Layout, vqvae: JukeboxVQVAE, level: str, count: int, seed: int, styles: Callable[[PriorNet], Styles | None]):
        self.shards, self.clips = held_out_clips(layout.stage("shards"), count)
        self.vqvae, self.level, self.seed, self.styles = vqvae, level, seed, styles
        self.beats = {c.clip_id: read_beats(layout.stage("rhythm") / "beats" / f"{c.clip_id}.json") for c in self.clips}
        self.onsets = {c.clip_id: onset_times(self.shards.read(c.clip_id).audio) for c in self.clips}
        self.high = load_prior(layout.stage("prior") / "high" / "model.pt", vqvae.codebook(LEVELS["high"]).k) if level == "low" else None

    def measure(self, net: PriorNet) -> Measurement:
        """P4's `own`, `other` and their `difference` by onsets, and onsets a clip."""
        model = PriorModel(net=net, codebook=self.vqvae.codebook(LEVELS[self.level]).k, level=self.level, styles=self.styles(net))
        player = Player(high=self.high or model, low=model if self.high else None, decoder=self.vqvae)
        sounds = {}
        for clip in self.clips:
            beats, samples = self.beats[clip.clip_id], frames_to_samples(clip.frames)
            codes = player.codes(beats, samples, player.style("", beats, self.seed), DRAWS["high"], self.seed)
            sounds[clip.clip_id] = normalise(player.play(codes, samples), LOUDNESS, PEAK)
        found = {name: onset_times(sound) for name, sound in sounds.items()}
        seconds, songs = {c.clip_id: frames_to_seconds(c.frames) for c in self.clips}, {c.clip_id: c.song for c in self.clips}
        pairs = np.array(list(own_minus_other(found, self.onsets, seconds, songs).values()))
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        own, other = pairs.mean(axis=0) if len(pairs) else (0.0, 0.0)
        ratio = sum(map(len, found.values())) / max(1, sum(map(len, self.onsets.values())))
        return Measurement({"P4_difference": own - other, "P4_own": own, "P4_other": other, "onsets_to_truth": ratio}, sounds)
