"""JukeBox's VQ-VAE (Dhariwal et al., 2020) from OpenAI's checkpoint, or from a state dict of its layout."""

from pathlib import Path

from d2m_model.checkpoints.foreign_file import fit, read_tensors
from d2m_model.nets.jukebox_vqvae import JUKEBOX_LEVELS, JukeboxVQVAE, VqVaeConfig


def load_jukebox(path: str | Path, config: VqVaeConfig | None = None) -> JukeboxVQVAE:
    """The network of a JukeBox VQ-VAE file, on the CPU, in evaluation mode, without gradients. Runs no code from the file.

    `encode(audio (B, S), level)` gives codes (B, L) int64, and `decode(codes (B, L), level)` gives audio (B, L * hop), for
    JukeBox's levels 0, 1, 2 with hops 8, 32, 128. The file holds the state dict, alone or under `model`, its names with or
    without `module.`: 669 tensors at the published sizes, which `config` can change.
    Raises UserError for a missing or unreadable file, another network or other sizes; it says what the file is and what was
    expected.
    """
    path, net = Path(path), JukeboxVQVAE(config)
    sizes = net.config
    expected = (
        f"JukeBox's VQ-VAE: {len(net.state_dict())} tensors of width {sizes.width}, depth {sizes.depth}, multipliers "
        f"{'/'.join(map(str, sizes.multipliers))}, {sizes.bins} bins"
    )
    fit(net, read_tensors(path, expected), path, expected)
    for codebook in (net.codebook(level) for level in JUKEBOX_LEVELS):
        codebook.restore_averages(codebook.bins)  # the file has no moving averages
    return net
