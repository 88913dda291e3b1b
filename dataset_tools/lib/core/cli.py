"""The command-line interface that all stages share: common arguments, exit codes, one-line error messages."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from dataset_tools.lib.core.addresses import as_path
from dataset_tools.lib.core.cluster import (
    check_cluster,
    choose_cluster,
    choose_storage,
    chosen_cluster,
    read_cluster,
    read_storage,
)
from dataset_tools.lib.core.errors import UserError, describe_disk_error, describe_missing_package, one_line
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import read_corpus_name

_listeners: list[Callable[[str, str], object]] = []


class Parser(argparse.ArgumentParser):
    """ArgumentParser that keeps the line breaks of `description`. A mistake is reported in one line that points to --help, with exit 2.

    Abbreviated options are refused, because `--temp` may be a typing error. Empty values are refused, because they often come
    from a shell variable that was never set.
    """

    def __init__(self, *, formatter_class=argparse.RawDescriptionHelpFormatter, **settings):
        super().__init__(formatter_class=formatter_class, allow_abbrev=False, **settings)

    def parse_known_args(self, args=None, namespace=None):
        """As in `argparse`, but empty values are refused."""
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
    """Parser of `python -m <module>` with the arguments of every stage: --corpus and --root, and of the data stages: --cluster."""
    parser = command_parser(module, doc)
    parser.add_argument(
        "--corpus", help="folder of manifests/ to work on (default: `corpus` of params.yaml, else demo)"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("."), help="working folder with params.yaml, manifests/, data/, runs/"
    )
    if module.startswith("dataset_tools."):
        parser.add_argument(
            "--cluster", metavar="ADDRESS",
            help="run on a Ray cluster: auto or ray://HOST:PORT; local: in this machine's processes (default: `cluster` of params.yaml, else local)",
        )  # fmt: skip
    return parser


def add_shards_option(parser: argparse.ArgumentParser) -> None:
    """Add --shards, for commands that may read the shards from elsewhere."""
    parser.add_argument(
        "--shards", metavar="ADDRESS",
        help="folder of the shards, or an address such as s3://bucket/folder (default: data/<corpus>/shards)",
    )  # fmt: skip


def layout_of(args: argparse.Namespace) -> Layout:
    """Layout of --root, --corpus and --shards. Also chooses where `run_all` works: on the cluster of --cluster or of params.yaml, if the command is
    a data stage. Raises UserError for an unknown corpus and for a malformed address of a cluster or of shards."""
    shards = as_path(args.shards) if getattr(args, "shards", None) else None
    layout = Layout(root=args.root, corpus=args.corpus or read_corpus_name(args.root / "params.yaml"), shards=shards)
    layout.manifest  # noqa: B018 - raises for an unknown corpus
    choose_cluster(_cluster_of(args))
    choose_storage(_storage_of(args))
    return layout


def _cluster_of(args: argparse.Namespace) -> str:
    if "cluster" not in args:  # a model stage
        return ""
    return read_cluster(args.root / "params.yaml") if args.cluster is None else check_cluster(args.cluster, "--cluster")


def _storage_of(args: argparse.Namespace) -> Path | None:
    if not chosen_cluster():
        return None
    storage = read_storage(args.root / "params.yaml")
    if storage and (args.root.is_absolute() or ".." in args.root.parts):
        raise UserError(
            f"--root {args.root}: with `storage` in params.yaml, files have the same place in every machine's own folder, so start the "
            "command in the working folder, without --root"
        )
    return storage


def run(main: Callable[[], int]) -> None:
    """Call `main` and exit with its code.

    A UserError, a disk error and a missing package become one line on stderr and exit 2. Any other exception is a bug and
    keeps its traceback.
    """
    try:
        code = main()
    except UserError as err:
        print(f"error: {one_line(str(err))}", file=sys.stderr)
        code = 2
    except (OSError, ModuleNotFoundError) as err:
        line = describe_disk_error(err) or describe_missing_package(err)
        if line is None:
            raise
        print(f"error: {one_line(line)}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


@contextmanager
def watch_messages(callback: Callable[[str, str], object]) -> Iterator[None]:
    """Until the block ends, each `say` of this process also calls `callback` with the stage's name and the text, in the thread that
    says it."""
    _listeners.append(callback)
    try:
        yield
    finally:
        _listeners.remove(callback)


def say(stage: str, text: str) -> None:
    """Print one line with the stage's name as its prefix."""
    print(f"{stage}: {text}", flush=True)
    for listener in tuple(_listeners):
        listener(stage, text)
