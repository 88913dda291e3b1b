"""Fuzz every reader of foreign files and print what came: `python -m tests.fuzz`, or `make fuzz`.

Each family of readers (tests/fuzz/<family>.py) gets its share of the inputs: first those that once were faults
(tests/fuzz/seeds), then new ones by hypothesis. A fault is an exception that is no UserError, a wrong result, over 20 s, over 1 GiB,
a file outside of the output folder, an unreadable message, or a process that dies; its input is kept in --out.
Exit status 1: there was one.
"""

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from dataset_tools.lib.core.cli import command_parser

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.fuzz import FAMILIES
from tests.fuzz.runner import FAULTS, Tally, run_family


def table(tallies: list[Tally]) -> str:
    """The tallies in Markdown."""
    kinds = [kind for kind in FAULTS if any(t.counts[kind] for t in tallies)]
    lines = ["| readers of | inputs | refused | taken | " + "".join(f"{kind} | " for kind in kinds) + "faults | s |"]
    lines.append("|:-|" + "-:|" * (5 + len(kinds)))
    for name, group in [*((t.family.replace("_", " "), [t]) for t in tallies), ("all", tallies)]:
        counts = sum((t.counts for t in group), Counter())
        cells = [
            counts.total(),
            *(counts[kind] for kind in ("refused", "taken", *kinds)),
            sum(len(t.faults) for t in group),
        ]
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + f" | {sum(t.seconds for t in group):.0f} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("tests.fuzz", __doc__)
    parser.add_argument(
        "--inputs", type=int, default=12_000, help="new inputs of all families together (default: 12000)"
    )
    parser.add_argument("--seconds", type=float, default=3600, help="time for all families together (default: 3600)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other inputs (default: 0)")
    parser.add_argument(
        "--families", nargs="+", default=list(FAMILIES), choices=FAMILIES, metavar="FAMILY", help=", ".join(FAMILIES)
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/fuzz"), help="folder for faults and summary.md (default: runs/fuzz)"
    )
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    tallies, begun = [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        for done, family in enumerate(args.families):
            left = args.seconds - (time.monotonic() - begun)
            share = max(1.0, left / (len(args.families) - done))
            inputs = args.inputs * FAMILIES[family] // sum(FAMILIES[name] for name in args.families)
            tally = run_family(family, inputs, share, args.seed, args.out, Path(scratch) / family)
            tallies.append(tally)
            for (kind, reader, detail), folder in {fault[:3]: fault[3] for fault in reversed(tally.faults)}.items():
                print(f"{family}: {kind}: {reader}: {' '.join(detail.split())} ({folder})", flush=True)
    summary = f"{table(tallies)}\n\nSeed {args.seed}, {time.monotonic() - begun:.0f} s.\n"
    (args.out / "summary.md").write_text(summary)
    print(summary)
    return int(any(t.faults for t in tallies))


if __name__ == "__main__":
    sys.exit(main())
