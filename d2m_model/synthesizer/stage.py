"""Fine-tune the decoder of one level of the VQ-VAE as a GAN (paper, section 3.3); encoder and codebook stay as they are.

With `synthesizer.decoder: istft` an inverse STFT (Vocos) is trained in the decoder's place, from nothing, over the same codes.

    python -m d2m_model.synthesizer --corpus demo --level high
With a VQ-VAE whose decoder was fine-tuned elsewhere, such as D2M-GAN's published ones, in the fine-tuning's place:
    python -m d2m_model.synthesizer --level high --weights FILE
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from d2m_model.losses.adversarial import feature_matching, hinge_discriminator, hinge_generator
from d2m_model.losses.spectral import mel_l1, multispectral
from d2m_model.metrics.decoder_choice import decoder_scores, no_worse
from d2m_model.metrics.embedding import Embedder
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.istft_decoder import IstftConfig
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.training.acceleration import accelerate
from d2m_model.training.autoencoding import measure, measurement, open_test, power_of, sound_batch, write_metrics
from d2m_model.training.checkpoint import training_state
from d2m_model.training.curves import Curves
from d2m_model.training.distributed import processes, rank, require_even
from d2m_model.training.loop import (
    Measurement,
    Run,
    TrainingParams,
    Watch,
    descend,
    run_of,
    train_loop,
    training_parser,
)
from d2m_model.training.seeding import seed_everything
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from dataset_tools.base import cli
from dataset_tools.base.cli import layout_of, say
from dataset_tools.base.errors import UserError
from dataset_tools.base.params import load_params, require
from dataset_tools.base.timebase import LEVELS
from dataset_tools.base.weights import locate
from dataset_tools.base.work_cache import file_sha256

MADE = {"own": "fine-tuned", "istft": "istft"}
"""What metrics.json calls a decoder that was trained here, by `synthesizer.decoder`."""


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `synthesizer` of params.yaml; the defaults are the paper's where it gives any."""

    weights: str = ""
    """Empty: fine-tune. Else a JukeBox VQ-VAE of the sizes of section `vqvae` that takes the fine-tuning's place, with its
    own encoder and codebook: a name in manifests/weights.csv or a file; {level} in it becomes high or low."""
    decoder: str = "own"
    """'own': the VQ-VAE's decoder is fine-tuned. 'istft': an inverse STFT (`nets/istft_decoder`) learns to play its codes, from
    nothing: give it about 5e-4 for `learning_rate`, and a weight for `multispectral`."""
    istft_width: int = 512
    istft_depth: int = 8
    istft_overlap: int = 4
    """Sizes of the inverse STFT; those of Vocos."""
    steps: int = 100_000
    seconds: float = 2.0
    """Length of a training window; a multiple of 1/30 s."""
    learning_rate: float = 1e-5
    """Of decoder and discriminator."""
    betas: tuple[float, ...] = (0.5, 0.9)
    """Of Adam."""
    discriminator: str = "paper"
    """'paper' or 'released'."""
    discriminator_width: float = 1.0
    scales: int = 3
    adversarial: float = 1.0
    feature_matching: float = 3.0
    wave: float = 40.0
    mel: float = 15.0
    multispectral: float = 0.0
    """Weight of JukeBox's spectral loss over several scales, which the VQ-VAE learns from; the paper's fine-tuning has none."""
    gain: float = 0.3
    """Windows are played at a random volume between this and 1."""
    test_windows: int = 32
    judge: str = "vggish"
    """Embedding of the FAD, 'vggish' or 'demo', that decides on training clips, with P4, whether the fine-tuned decoder is no
    worse than the VQ-VAE's own, which is kept where it is. Empty: the fine-tuned one is taken whatever it is."""
    judged_clips: int = 48

    def __post_init__(self):
        super().__post_init__()
        require(self.judge in ("", "vggish", "demo"), f"judge must be vggish, demo or empty, found '{self.judge}'")
        require(self.judged_clips >= 1, f"judged_clips must be at least 1, found {self.judged_clips}")
        require(self.decoder in ("own", "istft"), f"decoder must be own or istft, found '{self.decoder}'")
        require(not (self.weights and self.decoder == "istft"), "weights take the training's place, and hold no inverse STFT: leave out weights or decoder")
        self.istft()
        discriminator_config(self.discriminator, width=self.discriminator_width, scales=self.scales)
        for name in ("steps", "test_windows"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(0.1 <= self.seconds <= 60, f"seconds must be 0.1 to 60, found {self.seconds}")
        for name in ("learning_rate", "discriminator_width"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")
        require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), f"betas must be two numbers in 0..1, found {self.betas}")
        require(0 < self.gain <= 1, f"gain must be above 0 and at most 1, found {self.gain}")
        weights = (self.adversarial, self.feature_matching, self.wave, self.mel, self.multispectral)
        require(min(weights) >= 0, "weights must be at least 0")

    def istft(self) -> IstftConfig:
        """Sizes of the inverse STFT."""
        return IstftConfig(width=self.istft_width, depth=self.istft_depth, overlap=self.istft_overlap)


class DecoderTask:
    """The decoder of `level` (0, 1 or 2) of `model` against a discriminator; nothing else of the network changes."""

    rate_share = None

    def __init__(self, model: JukeboxVQVAE, level: int, data: WindowData, test: WindowData, params: Params):
        self.model, self.level, self.data, self.test, self.params = model, level, data, test, params
        self.device = next(model.parameters()).device
        if params.decoder == "istft":
            model.put_istft(level, params.istft())
        decoder = model.decoders[level].requires_grad_(True)
        config = discriminator_config(params.discriminator, width=params.discriminator_width, scales=params.scales)
        self.power = power_of(data) if params.multispectral else 1.0
        self.judge = MultiScaleDiscriminator(config).to(self.device)
        self.nets = {"decoder": decoder, "discriminator": self.judge}
        self.adams = {
            name: torch.optim.Adam(net.parameters(), lr=params.learning_rate, betas=params.betas) for name, net in self.nets.items()
        }
        accelerate(decoder, self.device, params.sound_precision, params.compile)
        accelerate(self.judge, self.device, params.precision, params.compile)

    def step(self, number: int, watch: Watch) -> dict[str, torch.Tensor]:
        """One step of the discriminator and one of the decoder; gives every term, unweighted, and the loss."""
        model, level, judge, params = self.model, self.level, self.judge, self.params
        audio = sound_batch(self.data, params.seed, number, params.batch, params.gain).to(self.device)
        rebuilt = model.decode_latents(model.embed(model.encode(audio, level), level), level)
        fake_scores, _ = judge(rebuilt.detach()[:, None])
        real_scores, _ = judge(audio[:, None])
        judging = {"discriminator": hinge_discriminator(real_scores, fake_scores)}
        watch(number, judging)
        descend(judging["discriminator"], self.adams["discriminator"], params.gradient_norm)
        judge.requires_grad_(False)
        fake_scores, fake_features = judge(rebuilt[:, None])
        with torch.no_grad():
            _, real_features = judge(audio[:, None])
        terms = {
            "adversarial": hinge_generator(fake_scores),
            "feature_matching": feature_matching(real_features, fake_features),
            "wave": F.l1_loss(rebuilt, audio),
            "mel": mel_l1(rebuilt, audio),
        }
        if params.multispectral:
            terms["multispectral"] = multispectral(rebuilt, audio, self.power)
        watch(number, terms)
        loss = sum(getattr(params, name) * term for name, term in terms.items())
        descend(loss, self.adams["decoder"], params.gradient_norm)
        judge.requires_grad_(True)
        return {"loss": loss, **terms, **judging}

    def measure(self) -> Measurement:
        """Reconstruction of held-out windows."""
        return measurement(self.model, self.level, self.test, self.params.measure_clips)


def fine_tune(
    model: JukeboxVQVAE, level: int, data: WindowData, test: WindowData, params: Params, run: Run
) -> tuple[DecoderTask, Curves]:
    """Train the decoder of `level` (0, 1 or 2) in place; gives the task and its curves.

    Nothing else of the network changes: its bytes are compared before and after (RuntimeError). Raises UserError when
    a loss stops being a number.
    """
    task, frozen = DecoderTask(model, level, data, test, params), fingerprint(model, level)
    curves = train_loop(task, params.steps, params, run)
    if fingerprint(model, level) != frozen:
        raise RuntimeError("fine-tuning changed more than the decoder: a bug")
    model.requires_grad_(False)
    return task, curves


def fingerprint(model: JukeboxVQVAE, level: int) -> str:
    """sha256 of every tensor of the network but those of the decoder of `level`."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if not name.startswith(f"decoders.{level}."):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()


def train(
    shards: Path, vqvae: Path, level: str, params: Params, out: Path, run: Run | None = None, embedder: Embedder | None = None
) -> dict:
    """Fine-tune the decoder of `level` ('high' or 'low') of the VQ-VAE file `vqvae` on `shards`; write model.pt,
    curves.csv and metrics.json to `out` and give the metrics, measured before and after. Of several processes the
    first writes and gives them.

    embedder: where it is given, the VQ-VAE's own decoder is kept unless the fine-tuned one is no worse (`decoder_choice`).

    Raises UserError for a missing or unfit file, shards without train or test windows, or a loss that is no number.
    """
    run = run or Run(stage="synthesizer")
    device = seed_everything(params.seed, params.threads)
    require_even("synthesizer", batch=params.batch)
    index = LEVELS[level]
    model = load_vqvae(vqvae)
    data, test = WindowData(shards, "train", params.seconds), open_test(shards)
    writes = rank() == 0
    before = measure(model, index, test, params.test_windows) if writes else {}
    task, curves = fine_tune(model.to(device), index, data, test, params, run)
    if not writes:
        return {}
    training = training_state(params.steps, task.adams) | {"discriminator": task.judge.state_dict()}
    tuned = load_vqvae(vqvae)  # on the CPU and not accelerated, as it was measured before
    tuned.take_level(model, index)
    metrics = {"level": level, "before": before, "after": measure(tuned, index, test, params.test_windows)}
    metrics |= {"steps": params.steps, "train_windows": len(data), "seed": params.seed, "kept": MADE[params.decoder]}
    if embedder:
        own = load_vqvae(vqvae)
        sounds, songs = _judged(data, params.judged_clips)
        scores = decoder_scores({"own": own, metrics["kept"]: tuned}, index, sounds, songs, embedder)
        metrics["judged"] = scores
        if not no_worse(scores[metrics["kept"]], scores["own"]):
            tuned, metrics["kept"] = own, "own"
    notes = {"seed": params.seed, "steps": params.steps, "fine_tuned": [level] if metrics["kept"] != "own" else []}
    save_vqvae(out / "model.pt", tuned, training, **notes)
    curves.write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics)
    run.finish()
    return metrics


def _judged(data: WindowData, count: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The sounds and songs of up to `count` clips, spread evenly, by clip."""
    chosen = np.unique(np.linspace(0, len(data.clips) - 1, min(count, len(data.clips))).round().astype(int))
    sounds = {data.clips[k].clip_id: data.clip_audio(int(k)).numpy() for k in chosen}
    return sounds, {data.clips[k].clip_id: data.clips[k].song or data.clips[k].clip_id for k in chosen}


def take_published(shards: Path, vqvae: Path, file: Path, level: str, params: Params, out: Path) -> dict:
    """Write what `train` would, with the network of the JukeBox file in place of a fine-tuned one and curves without a row;
    gives the metrics: 'before' of the VQ-VAE file `vqvae`, 'after' of this one, and whether both have one codebook.

    Raises UserError for a file of another network or of other sizes than `vqvae`, or shards without test windows.
    """
    from d2m_model.imports import load_jukebox

    seed_everything(params.seed, params.threads)
    index, test, known = LEVELS[level], open_test(shards), load_vqvae(vqvae)
    try:
        model = load_jukebox(file, known.config)
    except UserError as err:
        raise UserError(f"synthesizer.weights: {err}; the sizes are those of {vqvae}") from None
    metrics = {"level": level, **{when: measure(net, index, test, params.test_windows) for when, net in (("before", known), ("after", model))}}
    metrics |= {"steps": 0, "same_codebook": torch.equal(model.codebook(index).k, known.codebook(index).k)}
    source = {"weights": file.name, "weights_sha256": file_sha256(file)}
    save_vqvae(out / "model.pt", model, {}, steps=0, fine_tuned=[level], **source)
    Curves().write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics | source)
    return metrics


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = training_parser("d2m_model.synthesizer", __doc__)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high", help="whose decoder to fine-tune (default: high)")
    parser.add_argument("--weights", help="overrides synthesizer.weights of params.yaml: published, not fine-tuned here")
    args = parser.parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, "synthesizer", Params)
    params = dataclasses.replace(params, weights=args.weights or params.weights)
    out = layout.stage("synthesizer") / args.level
    with processes():
        shards, vqvae = layout.stage("shards"), layout.stage("vqvae") / "model.pt"
        if not params.weights:
            run = run_of(layout, "synthesizer", args.level, params, [shards, vqvae], f"--level {args.level}", args.resume)
            metrics = train(shards, vqvae, args.level, params, out, run, Embedder(params.judge, layout) if params.judge else None)
            for name, scores in metrics.get("judged", {}).items():
                say("synthesizer", f"{args.level} {name} decoder, training clips coded and decoded: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
            if metrics.get("kept") == "own":
                what = "the inverse STFT plays worse" if params.decoder == "istft" else "fine-tuning made it worse"
                say("synthesizer", f"{args.level}: {what}; the VQ-VAE's own decoder is kept")
        elif rank() == 0:
            file = locate(params.weights.replace("{level}", args.level), layout)
            metrics = take_published(shards, vqvae, file, args.level, params, out)
            other = "" if metrics["same_codebook"] else f"; its codebook is not the one of {vqvae}: this level is coded and played by it alone"
            say("synthesizer", f"{args.level}: {file.name} taken as published, not fine-tuned{other}")
        else:
            metrics = {}
    for when in ("before", "after") if metrics else ():
        say("synthesizer", f"{args.level} {when}: " + ", ".join(f"{k} {v:.3g}" for k, v in metrics[when].items()))
    return 0


if __name__ == "__main__":
    cli.run(main)
