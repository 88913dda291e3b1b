"""Read untrusted YAML within limits (lib/core/limits.py): plain values only, no duplicate keys, no exponential growth.

Nested aliases let a few hundred bytes of YAML stand for billions of values, so that printing or copying them never ends.
Therefore an aliased value counts each time it is used.
"""

from collections import Counter
from pathlib import Path
from typing import ClassVar

import yaml

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import WHOLE, YAML_BYTES, YAML_DEPTH, YAML_VALUES, printable, read_bytes


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads dates as strings: no parameter is a date, and an impossible date would raise."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node, deep=False):
        """As in PyYAML, but a value that does not fit its tag raises a YAMLError, not ValueError, IndexError, AttributeError …"""
        try:
            return super().construct_object(node, deep=deep)
        except yaml.YAMLError:
            raise
        except Exception:  # noqa: BLE001
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"'{printable(node.value)[:40]}' can't be read as {kind}", node.start_mark
            ) from None


def read_yaml(path: Path) -> object:
    """The content of a YAML file with one document: mappings, lists, strings, numbers, true, false, null. None for an empty file.

    Raises UserError, one line, for anything that `read_bytes` refuses, text that is not UTF-8 or not YAML, nesting deeper than
    `YAML_DEPTH`, more than `YAML_VALUES` values (aliased ones counted each time), an alias inside its own value, a duplicate
    key, a value that does not fit its tag, and an integer of more than 64 bits.
    """
    data = read_bytes(path, YAML_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    try:
        _check_depth(text, path)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, path, {})
        value = loader.construct_document(node)
    except yaml.YAMLError as err:
        raise UserError(f"{path}{_describe_error(err, text)}") from None
    _check_values(value, path)
    return value


def _describe_error(err: yaml.YAMLError, text: str) -> str:
    """Line number and PyYAML's description, with advice about tabs, without the lines of the file that PyYAML quotes."""
    mark = getattr(err, "problem_mark", None)
    said = " ".join(filter(None, (getattr(err, "context", None), getattr(err, "problem", None)))) or " ".join(
        str(err).split()
    )
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    tab = (
        "; indent with spaces, not with tabs"
        if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in said
        else ""
    )
    return f"{f' line {mark.line + 1}' if mark else ''}: not YAML: {printable(said)}{tab}"


def _check_depth(text: str, path: Path) -> None:
    """Raise UserError for too many levels or values. Checked first, because the steps after it are recursive."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > YAML_DEPTH:
            raise UserError(f"{path} line {event.start_mark.line + 1}: nested deeper than {YAML_DEPTH} levels")
        if number > 4 * YAML_VALUES:
            raise UserError(f"{path}: more than {YAML_VALUES} values")


def _count_values(node: yaml.Node, path: Path, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """(values, levels) of a node with its aliases expanded."""
    if id(node) in known:
        if (counted := known[id(node)]) is None:
            raise UserError(f"{path} line {node.start_mark.line + 1}: an alias inside the value that it refers to")
        return counted
    known[id(node)] = None
    if isinstance(node, yaml.MappingNode):
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := next((key for key, times in keys.items() if times > 1), ""):
            raise UserError(
                f"{path} line {node.start_mark.line + 1}: key '{printable(twice)}' occurs twice in one mapping; keep one"
            )
    inside = [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else node.value
    counts = [_count_values(child, path, known) for child in inside] if isinstance(node, yaml.CollectionNode) else []
    values, levels = 1 + sum(n for n, _ in counts), 1 + max((n for _, n in counts), default=0)
    if values > YAML_VALUES or levels > YAML_DEPTH + 1:
        raise UserError(
            f"{path} line {node.start_mark.line + 1}: its aliases expand to more than {YAML_VALUES} values or {YAML_DEPTH} levels"
        )
    known[id(node)] = (values, levels)
    return values, levels


def _check_values(value: object, path: Path) -> None:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for inner in value:
            _check_values(inner, path)
    elif isinstance(value, int) and abs(value) > WHOLE:
        raise UserError(f"{path}: a whole number of more than 64 bits")
    elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UserError(f"{path}: '{printable(value)}' contains half a character (a surrogate)")
    elif not isinstance(value, (str, int, float, type(None))):
        raise UserError(f"{path}: {printable(value)} is neither text, number, true, false, list nor mapping")
