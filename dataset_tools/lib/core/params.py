"""Read params.yaml: one section per stage, each a frozen dataclass. Unknown keys and values out of range are refused."""

import dataclasses
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import COMMANDS, DATA_STAGES, MODEL_STAGES
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.names import check_user_name
from dataset_tools.lib.core.timebase import LEVELS
from dataset_tools.lib.core.yaml_file import read_yaml

P = TypeVar("P")
SECTIONS = (
    "corpus",
    "levels",
    "variants",
    "models",
    "systems",
    *DATA_STAGES,
    *MODEL_STAGES,
    *COMMANDS,
    "cluster",
    "storage",
)
"""Top-level keys of a params file: the lists that DVC iterates over, the stages, where the data stages run, and through which
address their files go there."""
MAX_LETTERS = 500
"""Longest part that a dataclass's own message contributes to ours, in letters: it may repeat the value."""


def load_params(path: Path, section: str, record: type[P], *, extra: bool = False) -> P:
    """Read section `section` of a params file into the dataclass `record`. Lists become tuples.

    section: 'a.b' is section b inside section a; a missing b is empty. `record.sections` of a's dataclass names such inner
    sections, which are not parameters of a.
    extra: skip keys that `record` does not have, for a caller that reads only a part of another stage's section.

    Raises UserError for anything that `read_yaml` refuses, a missing section, an unknown key, a section whose name is close
    to a known one, a value of the wrong type, a number that is not finite, and a value that `record` refuses (its
    __post_init__ raises ValueError).
    """
    everything = read_params(path)
    outer, _, inner = section.partition(".")
    unknown = [name for name in everything if name not in SECTIONS and name != outer]
    if outer not in everything:
        raise UserError(
            f"{path}: section '{outer}' is missing"
            + (f"; it has '{printable(unknown[0])}', which is not a section" if unknown else "")
        )
    for name in unknown:  # a user may add keys of their own, for DVC or as YAML anchors
        if near := get_close_matches(str(name), SECTIONS, 1):
            raise UserError(
                f"{path}: section '{printable(name)}' is not known; did you mean {near[0]}? known: {', '.join(SECTIONS)}"
            )
    values = everything[outer] or {}
    if inner and isinstance(values, dict):
        values = values.get(inner) or {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: {section} must be a mapping of parameters, found '{printable(values)}'")
    names = {f.name for f in dataclasses.fields(record)}  # type: ignore[arg-type]  # P is a dataclass, which no bound can say
    inside = set(getattr(record, "sections", ()))
    for key in values:
        if key not in names | inside and not extra:
            raise UserError(
                f"{path}: {section}.{printable(key)} is not a parameter; known: {', '.join(sorted(names | inside))}"
            )
    frozen = {k: _as_tuples(v) for k, v in values.items() if k in names}
    for key, kind in get_type_hints(record).items():
        if key in frozen and (wanted := _required_type(frozen[key], kind)):
            raise UserError(
                f"{path}: {section}.{key} must be {wanted}, found '{printable(frozen[key])}'{_hint(frozen[key])}"
            )
    try:
        return record(**frozen)
    except (TypeError, ValueError, OverflowError) as err:
        raise UserError(f"{path}: {section}: {str(err)[:MAX_LETTERS]}") from None


def read_params(path: Path) -> dict:
    """All sections of a params file. Raises UserError for a missing file and for one that is not a mapping, and as `read_yaml`."""
    if not Path(path).exists() and not Path(path).is_symlink():
        raise UserError(f"{path}: file not found; copy one of presets/ to it")
    everything = read_yaml(path)
    if not isinstance(everything, dict | None):
        raise UserError(
            f"{path}: must be a mapping of sections, found '{printable(everything)}'; see presets/demo.yaml"
        )
    return everything or {}


def _as_tuples(value: object) -> object:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


TYPE_NAMES = {
    "boolean": "true or false", "integer": "a whole number", "number": "a finite number", "string": "a text", "null": "null", "object": "a mapping",
}  # fmt: skip
"""JSON Schema type -> its name in messages."""


def _required_type(value: object, kind: Any) -> str:
    """Description of the type `kind` if `value` does not have it, else ''. Nothing is converted: 1 stays an int in a float field."""
    # Imported here because it takes 0.14 s, which --help and worker processes do not need.
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    wanted: TypeAdapter = TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))
    try:
        wanted.validate_python(value)
    except ValidationError:
        return _describe_type(wanted.json_schema())
    return ""


def _describe_type(schema: dict) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_describe_type, schema["anyOf"]))
    return (
        f"a list, each item {_describe_type(schema['items'])}"
        if schema["type"] == "array"
        else TYPE_NAMES[schema["type"]]
    )


def _hint(value: object) -> str:
    return (
        "; YAML reads 1e-4 as text: write 1.0e-4"
        if isinstance(value, str) and re.fullmatch(r"[\d.]+e-?\d+", value)
        else ""
    )


def read_corpus_name(path: Path) -> str:
    """The corpus named in a params file; 'demo' if the file or the key is missing.

    Raises UserError for a value that cannot be the name of a folder in manifests/, and as `read_params`.
    """
    everything = read_params(path) if Path(path).exists() or Path(path).is_symlink() else {}
    return check_user_name(everything.get("corpus", "demo"), f"{path}: corpus")


def read_names(path: Path, key: str) -> tuple[str, ...]:
    """The list of names under a top-level key of a params file: `levels`, `variants`, `models` or `systems`.

    Raises UserError for a list that is missing or empty (`systems` may be empty: tables do not need baselines), that names
    one twice, and for a name that cannot be a folder's.
    """
    values = read_params(path).get(key) if Path(path).exists() else None
    if not isinstance(values, list) or not (values or key == "systems"):
        raise UserError(f"{path}: {key} must be a list of names, found '{printable(values)}'; see presets/demo.yaml")
    names = tuple(check_user_name(value, f"{path}: {key}") for value in values)
    if len(set(names)) < len(names):
        raise UserError(f"{path}: {key} must not repeat a name, found '{printable(values)}'")
    if key == "levels" and set(names) - set(LEVELS):
        raise UserError(f"{path}: levels must be among {', '.join(LEVELS)}, found '{printable(values)}'")
    return names


def require(condition: bool, rule: str) -> None:
    """Raise ValueError(rule) unless `condition`. For __post_init__ of the params dataclasses."""
    if not condition:
        raise ValueError(rule)
