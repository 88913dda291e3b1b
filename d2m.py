"""Every stage of the pipeline by its name: `d2m <stage> ...` is `python -m <package>.<stage> ...`."""

import ast
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from dataset_tools.lib.core.cli import Parser, run
from dataset_tools.lib.core.layout import COMMANDS, DATA_STAGES, MODEL_STAGES

PACKAGES = dict.fromkeys(DATA_STAGES, "dataset_tools") | dict.fromkeys(MODEL_STAGES + COMMANDS, "d2m_model")
"""Stage -> its package."""


def module_of(stage: str) -> tuple[str, Path]:
    """Name and file of the module with a stage's `main`. Nothing is imported but the packages that it is in."""
    name = f"{PACKAGES[stage]}.{stage}"
    spec = find_spec(name)
    if spec and spec.submodule_search_locations:
        name = f"{name}.__main__"
        spec = find_spec(name)
    assert spec and spec.origin
    return name, Path(spec.origin)


def summary(stage: str) -> str:
    """What a stage does: the first sentence of its module's docstring, without the stage's name at its start."""
    text = (ast.get_docstring(ast.parse(module_of(stage)[1].read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
    sentence = re.split(r"(?<=\w)\. (?=[A-Z(])", " ".join(text.split()).removeprefix(f"{stage}: "))[0].rstrip(".")
    return sentence[:1].upper() + sentence[1:]


def main(argv: list[str] | None = None) -> int:
    """Run the stage that `argv` begins with on the rest of it. Its errors and exit status are those of `python -m`."""
    argv = sys.argv[1:] if argv is None else argv
    listed = (
        "\n".join(f"  {stage:<12} {summary(stage)}" for stage in PACKAGES) if argv[:1] in (["-h"], ["--help"]) else ""
    )
    parser = Parser(
        prog="d2m",
        usage="d2m <stage> [options]",
        description="Dance-music corpora, and music from dance video. `d2m <stage> --help` lists a stage's options.",
        epilog=f"stages, in the pipeline's order:\n{listed}",
    )
    parser.add_argument("stage", choices=list(PACKAGES), metavar="stage", help="one of those below")
    stage = parser.parse_args(argv[:1]).stage
    return import_module(module_of(stage)[0]).main(argv[1:])


def command() -> None:
    """The program `d2m`."""
    run(main)


if __name__ == "__main__":
    command()
