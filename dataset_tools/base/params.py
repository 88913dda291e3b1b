"""params.yaml: one section per stage, each a frozen dataclass; unknown keys and values out of range are refused."""

import dataclasses
import re
from pathlib import Path
from typing import TypeVar, get_type_hints

import yaml

from dataset_tools.base.errors import UserError

P = TypeVar("P")


def load_params(path: Path, section: str, record: type[P], *, extra: bool = False) -> P:
    """Section `section` of a params file as `record`. Lists become tuples. With extra=True keys that `record` does not
    have are skipped: for who reads a part of another's section. 'a.b' is section b of section a, empty where it is
    absent; `record.sections` of a's record names such sections, which are not parameters of a.

    Raises UserError for a missing file, a missing section, an unknown key, or a value that `record` refuses
    (its __post_init__ raises ValueError).
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: file not found; copy one of presets/ to it")
    try:
        everything = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as err:
        raise UserError(f"{path}: not YAML: {err}") from None
    outer, _, inner = section.partition(".")
    if not isinstance(everything, dict) or outer not in everything:
        raise UserError(f"{path}: section '{outer}' is missing")
    values = everything[outer] or {}
    if inner and isinstance(values, dict):
        values = values.get(inner) or {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: {section} must be a mapping of parameters, found '{values}'")
    names = {f.name for f in dataclasses.fields(record)}
    inside = set(getattr(record, "sections", ()))
    for key in values:
        if key not in names | inside and not extra:
            raise UserError(f"{path}: {section}.{key} is not a parameter; known: {', '.join(sorted(names | inside))}")
    frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in names}
    for key, kind in get_type_hints(record).items():
        if key in frozen and (wanted := _unfit(frozen[key], kind)):
            raise UserError(f"{path}: {section}.{key} must be {wanted}, found '{frozen[key]}'{_hint(frozen[key])}")
    try:
        return record(**frozen)
    except (TypeError, ValueError) as err:
        raise UserError(f"{path}: {section}: {err}") from None


def _unfit(value: object, kind: object) -> str:
    """What a plain parameter of this type must be, where `value` is not; empty where it fits."""
    fits = {
        bool: ("true or false", (bool,)),
        int: ("a whole number", (int,)),
        float: ("a number", (int, float)),
        str: ("a text", (str,)),
    }
    if kind not in fits:
        return ""
    wanted, types = fits[kind]
    return "" if isinstance(value, types) and (kind is bool or not isinstance(value, bool)) else wanted


def _hint(value: object) -> str:
    return "; YAML reads 1e-4 as text: write 1.0e-4" if isinstance(value, str) and re.fullmatch(r"[\d.]+e-?\d+", value) else ""


def corpus_of(path: Path) -> str:
    """The corpus that a params file names, 'demo' where there is no such file or name."""
    if not Path(path).is_file():
        return "demo"
    try:
        everything = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as err:
        raise UserError(f"{path}: not YAML: {err}") from None
    return str(everything.get("corpus", "demo")) if isinstance(everything, dict) else "demo"


def names_of(path: Path, key: str) -> tuple[str, ...]:
    """A list of names at the top of a params file, of those that a DVC matrix runs over: `levels`, `variants` or
    `systems`. UserError where it is missing or empty."""
    everything = yaml.safe_load(Path(path).read_text(encoding="utf-8")) if Path(path).is_file() else None
    values = everything.get(key) if isinstance(everything, dict) else None
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise UserError(f"{path}: {key} must be a list of names, found '{values}'; presets/demo.yaml shows it")
    return tuple(values)


def require(condition: bool, rule: str) -> None:
    """For __post_init__ of params dataclasses: raise ValueError(rule) unless `condition`."""
    if not condition:
        raise ValueError(rule)
