"""The systems that params.yaml names, and where their music is: models, baselines and systems of others."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np

from d2m_model.metrics.comparison import SEEDED
from d2m_model.metrics.controls import CONTROLS, FITTED, RHYTHM
from d2m_model.metrics.inputs import audio_files, read_audio
from d2m_model.nets.variants import PRIOR
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.names import check_name
from dataset_tools.lib.core.params import load_params, read_names, require

RECONSTRUCTED = "VQ reconstruction"
"""First words of the controls `VQ reconstruction high` and `VQ reconstruction low`."""
CODE_LEVELS = {"unconditional_prior": "high", "random_codes": "high"}
"""Baselines that generate codes -> level of the codes."""


def is_control(name: str) -> bool:
    """Whether a control has this name."""
    return name in (*CONTROLS, FITTED, RHYTHM) or name.startswith(RECONSTRUCTED)


def file_name(system: str) -> str:
    """A system's name as a part of a path: CDCD/seed0 is CDCD-seed0."""
    return SEEDED.sub(r"-\1", system).replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class Others:
    """The field of section `evaluate` of params.yaml for music of other systems."""

    others: Mapping = field(default_factory=dict)
    """{name: folder} of other systems, with <clip_id>.wav for each clip of the split. Each gets a row in every table. NAME/seedN is
    one training of NAME."""

    def __post_init__(self):
        fits = isinstance(self.others, Mapping) and all(isinstance(v, str) and v for v in self.others.values())
        require(fits, f"others must map names to folders, such as {{CDCD: external/cdcd}}, found '{self.others}'")
        for name in self.others:
            require(isinstance(name, str), f"others: a system's name must be a text, found '{name}'; put it in quotes")
            check_name(file_name(name).replace("+", "-"), "others: a system's name, spaces, + and /seedN apart,")
            require(not is_control(name), f"others: '{name}' can't be a system's name: a control has it")
        files = [file_name(name) for name in self.others]
        require(len(set(files)) == len(files), f"others: two names are the same file's, found {', '.join(self.others)}")


@dataclass(frozen=True, kw_only=True)
class SystemAudio:
    """One system and the folder of its music, <clip_id>.wav."""

    kind: str
    """'model' or 'baseline'."""
    folder: Path
    section: str = ""
    """Section of params.yaml whose `split` names the clips; empty for a system of others."""
    command: str = ""
    """Command that makes the music; empty for a system of others."""
    level: str = ""
    """Level of its codes, 'high' or 'low'; empty for a system without codes."""
    training: Path | None = None
    """Folder with the metrics.json of its training; None for a system that is not trained."""

    @property
    def seed(self) -> int | None:
        """Seed of its training; None if unknown."""
        path = self.training / "metrics.json" if self.training else None
        return json.loads(path.read_text(encoding="utf-8")).get("seed") if path and path.is_file() else None

    def codes(self, clips: Collection[str]) -> dict[str, np.ndarray] | None:
        """{clip: codes (L,)} if the system's folder has <clip_id>.codes.npy for every clip; else None."""
        files = {c: self.folder / f"{c}.codes.npy" for c in clips}
        if not (self.level and all(f.is_file() for f in files.values())):
            return None
        found = {c: read_npy(f) for c, f in files.items()}
        if wrong := next((c for c, codes in found.items() if codes.dtype.kind not in "iu"), None):
            raise UserError(f"{files[wrong]}: codes are whole numbers, found {found[wrong].dtype}; make them again")
        return {c: codes.astype(np.int64).ravel() for c, codes in found.items()}

    def remedy(self, split: str) -> str:
        """For error messages: what to do where there is not exactly one .wav for each clip of the split."""
        if not self.command:
            return f"{self.folder.name} must hold <clip_id>.wav for each clip of the {split} split and nothing else"
        return f"run `dvc repro` or `{self.command}`, with {self.section}.split: {split} in params.yaml"

    def audio(self, clips: set[str], split: str) -> dict[str, np.ndarray]:
        """{clip: mono float32 (S,) at 22 050 Hz}. UserError where there is not exactly one .wav for each clip of the split."""
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: not there, but params.yaml names it; {self.remedy(split)}")
        found = audio_files(self.folder)
        for wrong, rule in (
            (set(found) - clips, f"is no clip of the {split} split"),
            (clips - set(found), "has no audio"),
        ):
            if wrong:
                raise UserError(f"{self.folder}: {min(wrong)} {rule} ({len(wrong)} such); {self.remedy(split)}")
        for path in found.values():
            if path.suffix != ".wav":
                raise UserError(
                    f"{path}: must be called {path.stem}.wav, because the stages read .wav only; convert it and move it away"
                )
        return {clip: read_audio(path) for clip, path in found.items()}


def named_systems(layout: Layout) -> dict[str, SystemAudio]:
    """All systems that params.yaml names: every model of every level, the baselines, and `evaluate.others`, in this order. UserError
    where a list is missing or two systems have one name."""
    found = {}
    for level, variant in product(read_names(layout.params, "levels"), read_names(layout.params, "models")):
        name, command = (
            f"{level}-{variant}",
            f"python -m d2m_model.generate --corpus {layout.corpus} --level {level} --variant {variant}",
        )
        found[name] = SystemAudio(
            kind="model", folder=layout.stage("generate") / name, section="generate", command=command, level=level,
            training=layout.stage("prior") / level if variant == PRIOR else layout.stage("d2m_gan") / name,
        )  # fmt: skip
    for name in read_names(layout.params, "systems"):
        command = f"python -m d2m_model.baselines --corpus {layout.corpus} --system {name}"
        level = CODE_LEVELS.get(name, "")
        found[name] = SystemAudio(
            kind="baseline", folder=layout.stage("baselines") / name, section="baselines", command=command, level=level
        )
    for name, folder in load_params(layout.params, "evaluate", Others, extra=True).others.items():
        if name in found:
            raise UserError(
                f"{layout.params}: evaluate.others.{name}: there is a system of this name already; choose another"
            )
        found[name] = SystemAudio(kind="baseline", folder=layout.root / folder)
    return found
