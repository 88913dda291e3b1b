"""params.yaml: values of the wrong kind or size, YAML's own oddities, names that would be paths."""

import dataclasses
import importlib
import math
from functools import cache, partial
from pathlib import Path

import yaml
from hypothesis import strategies as st

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import COMMANDS, DATA_STAGES, MODEL_STAGES, PROJECT, Layout
from dataset_tools.lib.core.params import load_params, read_corpus_name, read_names
from tests.fuzz.case import Case, promise
from tests.fuzz.mutation import ODD_TEXTS, altered, damaged, odd_numbers, odd_trees

PLACES = {
    word: f"{'dataset_tools' if word in DATA_STAGES else 'd2m_model'}.{word}.params"
    for word in DATA_STAGES + MODEL_STAGES + COMMANDS
}
MODULES = {word: importlib.import_module(name) for word, name in PLACES.items()}
LISTS = ("levels", "variants", "systems")
ODD_LINES = (
    "a: !!int ''", "a: !!timestamp y", "a: 2024-99-99", "a: " + "[" * 3000, "a: !!python/object/apply:os.system ['true']", "a: *b",
    "? {x: 1}\n: 2", "<<: {a: 1}", "a: &a [*a]", "a: !!binary é", "a: 0o9", "a: 1:61", "a: .inf", "\ta: 1", "---\na: 1\n---\nb: 2", "a: " + "9" * 5000,
    "a: !!float x", "a: !!set {x, y}", "a: !!bool z", "a: '\\uD800'", "a: \"\\uD800\"", "%YAML 9.9", "a: ! x", "=: 1", "a: !!omap [x]",
    "b: &x0 [lol, lol]\n" + "\n".join(f"b{k}: &x{k + 1} [*x{k}, *x{k}, *x{k}, *x{k}, *x{k}, *x{k}, *x{k}, *x{k}]" for k in range(9)),
)  # fmt: skip


def stage(into: Path, _out: Path, word: str) -> None:
    found = load_params(into / "params.yaml", word, MODULES[word].Params)
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        for number in (
            value if isinstance(value, (tuple, list)) else value.values() if isinstance(value, dict) else (value,)
        ):
            promise(
                not isinstance(number, float) or math.isfinite(number), f"{word}.{field.name} is finite, found {number}"
            )


def corpus(into: Path, out: Path) -> None:
    root = out / "root"
    name = read_corpus_name(into / "params.yaml")
    try:
        folders = [Layout(root=root, corpus=name).stage(word) for word in ("clips", "prior")]
    except ValueError as err:
        raise UserError(str(err)) from None
    for folder in folders:
        inside = (
            "\0" not in name and folder.resolve().is_relative_to(root.resolve()) and folder.resolve() != root.resolve()
        )
        promise(inside, f"corpus {name[:80]!r} leads to {str(folder)[-80:]!r}")


def lists(into: Path, _out: Path) -> None:
    for key in LISTS:
        for name in read_names(into / "params.yaml", key):
            promise(
                isinstance(name, str) and not {"/", "\0"} & set(name) and name not in ("", ".", ".."),
                f"a name of {key}: {name[:80]!r}",
            )


READERS = {f"stage {word}": partial(stage, word=word) for word in PLACES} | {"corpus": corpus, "lists": lists}


@cache
def _valid() -> dict:
    return yaml.safe_load((PROJECT / "presets" / "tiny.yaml").read_text())


@st.composite
def cases(draw) -> Case:
    reader = draw(st.sampled_from([*READERS, "corpus", "corpus", "lists"]))
    everything = {key: _valid()[key] for key in ("corpus", *LISTS)}
    if reader.startswith("stage "):
        word = reader.removeprefix("stage ")
        section = _valid()[word] or {}
        known = [f.name for f in dataclasses.fields(MODULES[word].Params)]
        odd = draw(st.lists(st.sampled_from(known), max_size=2)) if known else ()
        section = section | {name: draw(odd_numbers | odd_trees) for name in odd}
        everything[word] = draw(altered(section)) if not draw(st.integers(0, 3)) else section
    elif reader == "corpus":
        everything["corpus"] = draw(st.sampled_from(ODD_TEXTS) | odd_trees)
    else:
        everything |= draw(altered({key: everything[key] for key in LISTS}, st.sampled_from(ODD_TEXTS) | odd_trees))
    text = yaml.safe_dump(everything, allow_unicode=draw(st.booleans())).encode(errors="replace")
    if not draw(st.integers(0, 5)):
        odd = draw(st.sampled_from(ODD_LINES))
        if reader.startswith("stage ") and draw(st.booleans()):
            odd = f"{reader.removeprefix('stage ')}:\n  " + odd.replace("\n", "\n  ")
        text = draw(st.sampled_from((text + odd.encode(), odd.encode() + b"\n" + text)))
    if not draw(st.integers(0, 7)):
        text = draw(damaged(text))
    return Case(reader, {"params.yaml": text})
