"""params.yaml: one section per stage, each a frozen dataclass; unknown keys and values out of range are refused."""

import dataclasses
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import shown
from dataset_tools.lib.core.names import given_name
from dataset_tools.lib.core.timebase import LEVELS
from dataset_tools.lib.core.yaml_file import read_yaml

P = TypeVar("P")
SECTIONS = (
    "corpus", "levels", "variants", "models", "systems", "sources", "download", "clips", "pose", "i3d", "audio", "split", "shards", "vqvae",
    "synthesizer", "rhythm", "prior", "d2m_gan", "generate", "baselines", "evaluate", "tables", "report", "listen",
)  # fmt: skip
"""What may stand at the top of a params file: what DVC runs over, and the stages."""
MOST = 500
"""Letters of what a record says of a value, which may repeat it."""


def load_params(path: Path, section: str, record: type[P], *, extra: bool = False) -> P:
    """Section `section` of a params file as `record`. Lists become tuples. With extra=True keys that `record` does not
    have are skipped: for who reads a part of another's section. 'a.b' is section b of section a, empty where it is
    absent; `record.sections` of a's record names such sections, which are not parameters of a.

    Raises UserError for what `read_yaml` refuses, a missing section, an unknown key, a section whose name is nearly a known one, a value of another type than the
    record's field has, a number that is not finite, or a value that `record` refuses (its __post_init__ raises ValueError).
    """
    everything = read_params(path)
    outer, _, inner = section.partition(".")
    unknown = [name for name in everything if name not in SECTIONS and name != outer]
    if outer not in everything:
        raise UserError(
            f"{path}: section '{outer}' is missing"
            + (f"; it has '{shown(unknown[0])}', which is none" if unknown else "")
        )
    for name in unknown:  # other keys are the user's own, which DVC and YAML's anchors allow
        if near := get_close_matches(str(name), SECTIONS, 1):
            raise UserError(
                f"{path}: section '{shown(name)}' is not known; is {near[0]} meant? known: {', '.join(SECTIONS)}"
            )
    values = everything[outer] or {}
    if inner and isinstance(values, dict):
        values = values.get(inner) or {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: {section} must be a mapping of parameters, found '{shown(values)}'")
    names = {f.name for f in dataclasses.fields(record)}  # type: ignore[arg-type]  # P is a dataclass, which no bound can say
    inside = set(getattr(record, "sections", ()))
    for key in values:
        if key not in names | inside and not extra:
            raise UserError(
                f"{path}: {section}.{shown(key)} is not a parameter; known: {', '.join(sorted(names | inside))}"
            )
    frozen = {k: _frozen(v) for k, v in values.items() if k in names}
    for key, kind in get_type_hints(record).items():
        if key in frozen and (wanted := _unfit(frozen[key], kind)):
            raise UserError(
                f"{path}: {section}.{key} must be {wanted}, found '{shown(frozen[key])}'{_hint(frozen[key])}"
            )
    try:
        return record(**frozen)
    except (TypeError, ValueError, OverflowError) as err:
        raise UserError(f"{path}: {section}: {str(err)[:MOST]}") from None


def read_params(path: Path) -> dict:
    """All sections of a params file. Raises UserError where it is not there or no mapping, and as `read_yaml`."""
    if not Path(path).exists() and not Path(path).is_symlink():
        raise UserError(f"{path}: file not found; copy one of presets/ to it")
    everything = read_yaml(path)
    if not isinstance(everything, dict | None):
        raise UserError(
            f"{path}: must be a mapping of sections, found '{shown(everything)}'; presets/demo.yaml shows it"
        )
    return everything or {}


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


WORDS = {
    "boolean": "true or false", "integer": "a whole number", "number": "a finite number", "string": "a text", "null": "null", "object": "a mapping",
}  # fmt: skip
"""JSON Schema's names of types as messages say them."""


def _unfit(value: object, kind: Any) -> str:
    """What a parameter of this type must be, where `value` is not; empty where it fits. Nothing is converted: 1 stays 1 where
    a float may be."""
    # here, not above: it costs 0.14 s, which --help and worker processes do without
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    wanted: TypeAdapter = TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))
    try:
        wanted.validate_python(value)
    except ValidationError:
        return _in_words(wanted.json_schema())
    return ""


def _in_words(schema: dict) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_in_words, schema["anyOf"]))
    return f"a list, each of it {_in_words(schema['items'])}" if schema["type"] == "array" else WORDS[schema["type"]]


def _hint(value: object) -> str:
    return (
        "; YAML reads 1e-4 as text: write 1.0e-4"
        if isinstance(value, str) and re.fullmatch(r"[\d.]+e-?\d+", value)
        else ""
    )


def corpus_of(path: Path) -> str:
    """The corpus that a params file names, 'demo' where there is no such file or name. Raises UserError for what can't be
    the name of a folder in manifests/, and as `read_params`."""
    everything = read_params(path) if Path(path).exists() or Path(path).is_symlink() else {}
    return given_name(everything.get("corpus", "demo"), f"{path}: corpus")


def names_of(path: Path, key: str) -> tuple[str, ...]:
    """A list of names at the top of a params file, of those that a DVC matrix runs over: `levels`, `variants`, `models` or
    `systems`. UserError where it is missing, empty (but `systems`, for a table need not have baselines), names one twice, or one that
    can't be a folder's."""
    values = read_params(path).get(key) if Path(path).exists() else None
    if not isinstance(values, list) or not (values or key == "systems"):
        raise UserError(f"{path}: {key} must be a list of names, found '{shown(values)}'; presets/demo.yaml shows it")
    names = tuple(given_name(value, f"{path}: {key}") for value in values)
    if len(set(names)) < len(names):
        raise UserError(f"{path}: {key} must name each one once, found '{shown(values)}'")
    if key == "levels" and set(names) - set(LEVELS):
        raise UserError(f"{path}: levels must be among {', '.join(LEVELS)}, found '{shown(values)}'")
    return names


def require(condition: bool, rule: str) -> None:
    """For __post_init__ of params dataclasses: raise ValueError(rule) unless `condition`."""
    if not condition:
        raise ValueError(rule)
