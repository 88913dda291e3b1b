"""The same command-line surface for every stage: arguments, exit codes, one line for a user's mistake."""

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from dataset_tools.lib.core.errors import UserError, disk_trouble, missing_package, one_line
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import corpus_of


class Parser(argparse.ArgumentParser):
    """Parser of a command that `description` describes as it is written. A mistake is one line, which points to --help, and
    exit 2; an option is written out, for `--temp` may be a slip; a value that is empty is one, too: a shell's variable that was never set would else go unseen."""

    def __init__(self, *, formatter_class=argparse.RawDescriptionHelpFormatter, **settings):
        super().__init__(formatter_class=formatter_class, allow_abbrev=False, **settings)

    def parse_known_args(self, args=None, namespace=None):
        """As `argparse` does; empty values are refused."""
        args = list(sys.argv[1:] if args is None else args)
        for before, value in pairwise(["", *args]):
            option, equals, rest = value.partition("=") if value.startswith("--") else (before, "=", value)
            if equals and not rest.strip():
                self.error(
                    f"{option if option.startswith('-') else 'an argument'} is empty; give it a value or leave it out"
                )
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End with one line and exit 2."""
        self.exit(2, f"error: {one_line(message)}; see `{self.prog} --help`\n")


def command_parser(module: str, doc: str) -> Parser:
    """Parser of `python -m <module>`."""
    return Parser(prog=f"python -m {module}", description=doc)


def stage_parser(module: str, doc: str) -> Parser:
    """Parser of `python -m <module>` with the arguments every stage has: --corpus and --root."""
    parser = command_parser(module, doc)
    parser.add_argument(
        "--corpus", help="folder of manifests/ to work on (default: `corpus` of params.yaml, else demo)"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("."), help="working folder with params.yaml, manifests/, data/, runs/"
    )
    return parser


def layout_of(args: argparse.Namespace) -> Layout:
    """The paths that --root and --corpus mean; an unknown corpus is refused here."""
    layout = Layout(root=args.root, corpus=args.corpus or corpus_of(args.root / "params.yaml"))
    layout.manifest  # noqa: B018 - raises for an unknown corpus
    return layout


def run(main: Callable[[], int]) -> None:
    """Call `main`; a user's mistake, a disk that is full or read-only or a package that is not installed becomes one line on
    stderr and exit 2; anything else is our bug and is shown."""
    try:
        code = main()
    except UserError as err:
        print(f"error: {one_line(str(err))}", file=sys.stderr)
        code = 2
    except (OSError, ModuleNotFoundError) as err:
        line = disk_trouble(err) or missing_package(err)
        if line is None:
            raise
        print(f"error: {one_line(line)}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def say(stage: str, text: str) -> None:
    """One summary line with the stage's word as its prefix."""
    print(f"{stage}: {text}", flush=True)
