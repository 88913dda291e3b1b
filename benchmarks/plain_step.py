"""The reference of train_step.py: a training step of the released program's networks in plain eager float32 PyTorch, layer by
layer, with the names of its checkpoints. It shares no code with d2m_model.

One step: encode the music, generate codes from the dance, update the three discriminators, decode the generated codes, update
the motion encoder and the generator. Motion of T frames and D coordinates, no genre; B windows, S samples, L codes.
"""

import warnings
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import record_function

warnings.filterwarnings("ignore", message=".*weight_norm.*", category=FutureWarning)
SLOPE = 0.2
HALVINGS = {"high": (3, 2, 2), "low": (3, 2)}  # halvings of the rate in each block of the VQ-VAE
# (kernel, stride, channels, reflection padding beside one zero) of the generators' convolutions except the last
LAYERS = {
    "high": ((6, 2, 32, 0), (41, 2, 64, 0), (41, 1, 128, 0), (41, 1, 256, 0), (41, 1, 512, 0)),
    "low": ((6, 2, 32, 3), (4, 1, 64, 32), (40, 2, 128, 64), (40, 1, 256, 64), (40, 1, 512, 64), (40, 1, 1024, 64), (40, 1, 1024, 64)),
}  # fmt: skip
WITH_STACK = {"high": 5, "low": 6}  # the first so many of them are followed by a residual stack
WEIGHTS = {"adversarial": 1.0, "feature": 3.0, "latent": 5.0, "code": 8.0, "wave": 40.0, "mel": 15.0}


class Residual(nn.Module):
    """LReLU, reflection padding d, k3 with dilation d, LReLU, k1, plus a k1 shortcut."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        normed = nn.utils.weight_norm
        self.block = nn.Sequential(
            nn.LeakyReLU(SLOPE), nn.ReflectionPad1d(dilation), normed(nn.Conv1d(width, width, 3, dilation=dilation)),
            nn.LeakyReLU(SLOPE), normed(nn.Conv1d(width, width, 1)),
        )  # fmt: skip
        self.shortcut = normed(nn.Conv1d(width, width, 1))

    def forward(self, x):
        return self.shortcut(x) + self.block(x)


def stack(width: int) -> list[nn.Module]:
    return [Residual(width, dilation) for dilation in (1, 3, 9, 27)]


class MotionEncoder(nn.Module):
    """(B, T, D) -> (B, 1, 1024), with frames as channels."""

    def __init__(self, frames: int, coordinates: int):
        super().__init__()
        self.lin1 = nn.Linear(coordinates, 800)
        self.model = nn.Sequential(
            nn.Conv1d(frames, 256, 6), nn.ReLU(), *stack(256), nn.LeakyReLU(SLOPE), nn.Conv1d(256, 512, 4), *stack(512),
            nn.LeakyReLU(SLOPE), nn.Conv1d(512, 1024, 4), *stack(1024), nn.LeakyReLU(SLOPE), nn.Conv1d(1024, 1, 4),
        )  # fmt: skip
        self.lin2 = nn.Linear(786, 1024)

    def forward(self, motion):
        return self.lin2(self.model(self.lin1(motion)))


class Generator(nn.Module):
    """(B, 1, 1024) motion and (B, 1, 2048) visual features -> continuous codes (B, 64, L), L = 344 or 1378."""

    def __init__(self, level: str):
        super().__init__()
        self.low = level == "low"
        self.lin = nn.Linear(1024 + 2048, 2048 if self.low else 2058)
        layers, inputs = [], 1
        for i, (kernel, stride, width, mirrored) in enumerate(LAYERS[level]):
            layers += [nn.LeakyReLU(SLOPE)] if i else []
            layers += [nn.ReflectionPad1d(mirrored)] if mirrored else []
            layers += [nn.Conv1d(inputs, width, kernel, stride, padding=1)]
            layers += stack(width) if i < WITH_STACK[level] else []
            inputs = width
        layers += [
            nn.LeakyReLU(SLOPE),
            *([nn.ReflectionPad1d(64)] if self.low else []),
            nn.Conv1d(inputs, 64, 40, padding=1),
            nn.Tanh(),
        ]
        self.model = nn.Sequential(*layers)
        if self.low:
            self.fc = nn.Linear(1045, 1378)

    def forward(self, motion, visual):
        codes = self.model(self.lin(torch.cat([motion, visual], dim=2)))
        return 100 * (self.fc(codes) if self.low else codes)


class Discriminator(nn.Module):
    """(B, 1, N) -> the outputs of seven layers, the last one the score."""

    def __init__(self):
        super().__init__()
        normed = nn.utils.weight_norm
        layers = [nn.Sequential(nn.ReflectionPad1d(7), normed(nn.Conv1d(1, 32, 16)), nn.LeakyReLU(SLOPE))]
        for inputs, outputs, groups in ((32, 128, 8), (128, 512, 32), (512, 1024, 128), (1024, 1024, 256)):
            conv = nn.Conv1d(inputs, outputs, 41, 4, padding=20, groups=groups)
            layers.append(nn.Sequential(normed(conv), nn.LeakyReLU(SLOPE)))
        layers.append(nn.Sequential(normed(nn.Conv1d(1024, 512, 5, padding=2)), nn.LeakyReLU(SLOPE)))
        layers.append(normed(nn.Conv1d(512, 1, 3, padding=1)))
        self.model = nn.ModuleDict({f"layer_{i}": layer for i, layer in enumerate(layers)})

    def forward(self, x):
        outputs = []
        for layer in self.model.values():
            x = layer(x)
            outputs.append(x)
        return outputs


class Discriminators(nn.Module):
    """Three discriminators: on the sequence and on its averages."""

    def __init__(self):
        super().__init__()
        self.model = nn.ModuleDict({f"disc_{i}": Discriminator() for i in range(3)})

    def forward(self, x):
        results = []
        for one in self.model.values():
            results.append(one(x))
            x = F.avg_pool1d(x, 4, 2, 1, count_include_pad=False)
        return results


class Dilated(nn.Module):
    """A residual block of the VQ-VAE."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.model = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x):
        return x + self.model(x)


class Part(nn.Module):
    """Layers under the name `model`, nested as in the VQ-VAE's checkpoint."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


def dilated(width: int, depth: int, order: int) -> nn.Module:
    return Part(*(Dilated(width, 3**i) for i in range(depth)[::order]))


class Player(nn.Module):
    """Encoder, codebook and decoder of one level of the VQ-VAE."""

    def __init__(self, level: str, width: int = 32, depth: int = 4, bins: int = 2048):
        super().__init__()
        down, up = [], []
        for block, halvings in enumerate(HALVINGS[level]):
            first = 64 if block else 1
            falls = [
                nn.Sequential(nn.Conv1d(width if i else first, width, 4, 2, 1), dilated(width, depth, 1))
                for i in range(halvings)
            ]
            down.append(Part(*falls, nn.Conv1d(width, 64, 3, padding=1)))
            last = halvings - 1
            rises = [
                nn.Sequential(dilated(width, depth, -1), nn.ConvTranspose1d(width, 64 if i == last else width, 4, 2, 1))
                for i in range(halvings)
            ]
            up.append(Part(nn.Conv1d(64, width, 3, padding=1), *rises))
        self.down, self.up, self.out = nn.ModuleList(down), nn.ModuleList(up), nn.Conv1d(64, 1, 3, padding=1)
        self.register_buffer("book", torch.zeros(bins, 64))

    def encode(self, audio):
        """(B, S) -> latents (B, 64, L) and codes (B, L)."""
        x = audio[:, None]
        for block in self.down:
            x = block(x)
        return x, self.nearest(x)

    def nearest(self, x):
        flat = x.transpose(1, 2).reshape(-1, 64)
        far = flat.square().sum(1, keepdim=True) - 2 * flat @ self.book.T + self.book.square().sum(1)
        return far.argmin(1).view(len(x), -1)

    def entries(self, codes):
        return F.embedding(codes, self.book).transpose(1, 2)

    def decode(self, codes):
        """(B, L) -> (B, S)."""
        x = self.entries(codes)
        for block in reversed(self.up):
            x = block(x)
        return self.out(x)[:, 0]


class PlainStep:
    """Networks, optimizers and one step. filters (128, 513): the mel filter bank. part: the codes of each window that are decoded."""

    def __init__(
        self, level: str, frames: int, coordinates: int, filters: torch.Tensor, part: slice, device: torch.device
    ):
        self.encoder, self.generator = MotionEncoder(frames, coordinates).to(device), Generator(level).to(device)
        self.discriminator, self.player = Discriminators().to(device), Player(level).to(device).requires_grad_(False)
        self.filters, self.window, self.part = filters.to(device), torch.hann_window(1024, device=device), part
        both = [*self.encoder.parameters(), *self.generator.parameters()]
        self.adam = torch.optim.Adam(both, 1e-4, (0.5, 0.9))
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), 1e-4, (0.5, 0.9))

    def mel(self, wave):
        wave = F.pad(wave[:, None], (384, 384 + -wave.shape[1] % 256), mode="reflect")[:, 0]
        spectrum = torch.stft(wave, 1024, 256, 1024, self.window, center=False, return_complex=True)
        magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
        return torch.log10(torch.clamp(self.filters @ magnitude, min=1e-5))

    def step(self, motion, visual, audio) -> Mapping[str, torch.Tensor]:
        """motion (B, T, D), visual (B, 2048), audio (B, S) -> every loss of the generator, unweighted, and the discriminators'."""
        with record_function("encoder of the music"), torch.no_grad():
            latents, codes = self.player.encode(audio)
            real = self.player.entries(codes)
        with record_function("generator"):
            made = self.generator(self.encoder(motion), visual[:, None])
        with record_function("discriminators, their step: real"):
            of_real = self.discriminator(real.reshape(len(real), 1, -1))
        with record_function("discriminators, their step: generated"):
            of_made = self.discriminator(made.detach().reshape(len(made), 1, -1))
        hinge = [F.relu(1 - r[-1]).mean() + F.relu(1 + m[-1]).mean() for r, m in zip(of_real, of_made, strict=True)]
        losses = {"discriminator": sum(hinge) / 3}
        self.discriminator_optimizer.zero_grad()
        with record_function("backward"):
            losses["discriminator"].backward()
        with record_function("optimisers"):
            self.discriminator_optimizer.step()
        with record_function("discriminators, generator's step: generated"):
            of_made = self.discriminator(made.reshape(len(made), 1, -1))
        with record_function("discriminators, generator's step: real"):
            of_real = self.discriminator(real.reshape(len(real), 1, -1))
        pairs = [
            (r, m)
            for real_layers, made_layers in zip(of_real, of_made, strict=True)
            for r, m in zip(real_layers[:-1], made_layers[:-1], strict=True)
        ]
        losses["adversarial"] = -sum(m[-1].mean() for m in of_made) / 3
        losses["feature"] = sum(F.l1_loss(m, r.detach()) for r, m in pairs) / len(pairs)
        losses["latent"], losses["code"] = F.l1_loss(made, latents), F.l1_loss(made, real)
        with record_function("decoder"), torch.no_grad():
            wave = self.player.decode(self.player.nearest(made[:, :, self.part]))
            hop = wave.shape[1] // (self.part.stop - self.part.start)
            real = audio[:, self.part.start * hop : self.part.stop * hop]
            losses["wave"], losses["mel"] = F.l1_loss(wave, real), F.l1_loss(self.mel(wave), self.mel(real))
        self.adam.zero_grad()
        with record_function("backward"):
            sum(WEIGHTS[name] * loss for name, loss in losses.items() if name in WEIGHTS).backward()
        with record_function("optimisers"):
            self.adam.step()
        return losses
