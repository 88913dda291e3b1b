"""Loads the trained models of `generate`, by level and variant."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from d2m_model.generate.generators import MusicGenerator, PriorGenerator, WindowGenerator
from d2m_model.nets.variants import PRIOR
from d2m_model.prior.player import load_player
from d2m_model.training.music_model import MusicModel, load_generator
from d2m_model.training.vqvae_files import decoder_of
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.shard_io.shard_set import WEIGHTS_SEPARATOR

if TYPE_CHECKING:
    from d2m_model.generate.pose_files import ReadPose


def trained(layout: Layout, level: str, variant: str) -> tuple[Path, Path]:
    """The model.pt of the prior or of d2m_gan, and that of the synthesizer. Raises UserError, with the commands that train them,
    if one is missing."""
    named = f"--corpus {layout.corpus} --level"
    if variant == PRIOR:
        decoder, stage = layout.stage("synthesizer") / level, f"synthesizer {named} {level}"
        levels = ("high", level) if level != "high" else ("high",)  # level low is generated from level high
        wanted = {f"prior {named} {name}": layout.stage("prior") / name for name in levels}
    else:
        decoder = decoder_of(layout, level, variant).parent
        stage = (
            f"vqvae --corpus {layout.corpus}" if decoder == layout.stage("vqvae") else f"synthesizer {named} {level}"
        )
        wanted = {f"d2m_gan {named} {level} --variant {variant}": layout.stage("d2m_gan") / f"{level}-{variant}"}
    missing = {
        command: folder
        for command, folder in ({stage: decoder} | wanted).items()
        if not (folder / "model.pt").is_file()
    }
    if missing:
        commands = " and then ".join(f"`python -m d2m_model.{command}`" for command in missing)
        first = next(iter(missing.values())) / "model.pt"
        raise UserError(f"{first}: no model trained yet; train it with `make repro` (everything) or {commands}")
    return list(wanted.values())[-1] / "model.pt", decoder / "model.pt"


def load_model(
    layout: Layout, level: str, variant: str, inputs: Mapping[str, str], genre: str | None = None, bar: bool = False
) -> MusicGenerator:
    """The trained prior or D2M-GAN generator with its synthesizer. inputs: attributes of the dances that it will read (`input_attributes`).
    genre: the genre of all these dances, if known, for a generator with genres. bar: show the progress of each piece.

    Raises UserError as `trained`, for a model that was trained with other inputs, and for a genre that it does not use.
    """
    files = trained(layout, level, variant)
    if variant == PRIOR:
        return PriorGenerator(load_player(layout, level), bar)
    model = MusicModel.load(*files, inputs)
    if genre and not model.net.genres:
        raise UserError(f"{files[0]}: was trained without genres, so --genre changes nothing; leave it out")
    return WindowGenerator(model if genre is None else model.for_genre(genre), level)


def load_models(
    layout: Layout, levels: Sequence[str], variant: str, genre: str = "", *, beats: bool = False
) -> dict[str, MusicGenerator]:
    """Models for the user's own videos, which are read with the weights of params.yaml. genre: for generators with genres.

    beats: whether the dance's beats are given; the prior then needs no pose. It never needs visual features.
    """
    from d2m_model.generate.own_video import inputs_of_settings, pose_inputs

    for level in levels:
        trained(layout, level, variant)
    inputs = inputs_of_settings(layout) if variant != PRIOR else {} if beats else pose_inputs(layout)
    return {level: load_model(layout, level, variant, inputs, genre, bar=True) for level in levels}


def load_models_for_pose(
    layout: Layout, levels: Sequence[str], variant: str, genre: str, given: "ReadPose", *, video: bool
) -> tuple[dict[str, MusicGenerator], "ReadPose"]:
    """Models for a pose file, and its pose in the layout that they read. video: whether there is a video, whose visual features must
    come from the weights of the training.

    Raises UserError as `load_model`, and for models that read SMPL motion.
    """
    from d2m_model.generate.own_video import visual_input

    if variant == PRIOR:  # the rhythm model reads both layouts, from any estimator
        return {level: load_model(layout, level, variant, {}, bar=True) for level in levels}, given
    models = {}
    for level in levels:
        generator, _ = trained(layout, level, variant)
        *_, inputs = load_generator(generator)
        if "pose_layout" not in inputs:
            raise UserError(
                f"{generator}: reads SMPL motion, and --pose gives keypoints; train d2m_gan with stream: pose"
            )
        known = inputs["pose_layout"].split(WEIGHTS_SEPARATOR)
        given = given.in_layout(given.layout if given.layout in known else known[0])
        say(
            "generate",
            f"{level}: was trained on poses of {inputs['pose_weights']}; those of another estimator may be followed less well",
        )
        seen = inputs | ({"i3d_weights": visual_input(layout)} if video else {})
        models[level] = load_model(layout, level, variant, seen, genre)
    return models, given
