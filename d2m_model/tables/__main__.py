"""The paper's Tables 1 to 6 with its numbers beside ours, and tables of all scored systems and controls.

    python -m d2m_model.tables --corpus demo [--print md|csv|tex]
    python -m d2m_model.tables --corpus demo --compare      # the models' scores beside the range over other seeds

Our numbers are of protocol P1, pooled (micro), because the paper's numbers fit a pooled count. The paper's are measured on AIST++
(Tables 1, 3 to 6) and TikTok (Table 2). On any other corpus the difference compares different things, and the note under the
table says so. Only the paper's own numbers are typed by hand, in paper_tables.csv.
"""

import pandas as pd

from d2m_model.metrics import overview
from d2m_model.metrics.scoring import PROTOCOLS
from d2m_model.metrics.seed_ranges import compared, ranges_file, read_ranges
from d2m_model.tables.params import Params
from d2m_model.tables.stage import cells, note, paper_table, read_results, written
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.params import load_params

CAPTIONS = {
    1: "Main comparison",
    2: "Modalities, TikTok",
    3: "Sequence length",
    4: "Modalities",
    5: "Architecture",
    6: "Losses",
}
FORMS = ("md", "csv", "tex")


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = stage_parser("d2m_model.tables", __doc__)
    parser.add_argument(
        "--compare",
        action="store_true",
        help="write nothing; print the scores beside the range that was measured over training seeds",
    )
    parser.add_argument("--print", choices=FORMS, dest="form", help="also print every table in this form")
    args = parser.parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, "tables", Params)
    results = read_results(layout)
    if args.compare:
        print(compared(results.metrics, read_ranges(layout.root / ranges_file(layout.corpus)), layout))
        if (page := layout.stage("report") / "index.html").is_file():
            print(f"The report: {page}")
        return 0
    out = layout.stage("tables")
    controls = "\n\n".join(
        part
        for part in (overview.seed_note(results.systems), overview.control_note(results.metrics, params.digits))
        if part
    )
    tables = [("systems", "All systems and controls", overview.systems_table(results.systems, params.digits), controls)]
    if any("sound" in s for s in results.systems.values()):
        tables.append(("sound", "Loudness, spectrum and novelty", overview.audio_table(results.systems), controls))
    if any("codes" in s for s in results.systems.values()):
        tables.append(
            ("codes", "Systems over codes: hum, onsets and copies", overview.codes_table(results.systems), controls)
        )
    if rhythm := results.metrics.get("rhythm"):
        title = "Rhythm: beats read from the motion, F-measure ±70 ms with the true ones"
        tables.append(
            (
                "rhythm",
                title,
                overview.rhythm_table(rhythm),
                f"{rhythm['beats']['clips']} clips; a list of beats that ignores the dance is at 0.",
            )
        )
    for protocol in PROTOCOLS:
        scored = [s for s in results.systems.values() if protocol in s]
        for name, title, table in overview.protocol_tables(results.systems, protocol) if scored else []:
            tables.append((name, title, table, f"{overview.policy_line(scored[0], protocol)}.\n\n{controls}"))
    for number, caption in CAPTIONS.items():
        table = paper_table(number, results, params.digits)
        tables.append(
            (f"table{number}", f"Table {number}: {caption}", table, note(number, layout.corpus, results, params.digits))
        )
    for name, title, table, text in tables:
        for form in FORMS:
            write_text(out / f"{name}.{form}", written(form, title, table, text))
        if args.form:
            print(written(args.form, title, table, text))
    every = pd.concat([cells(number, results) for number in CAPTIONS], ignore_index=True)
    write_text(out / "cells.csv", every.round(6).to_csv(index=False))
    say("tables", f"Tables 1 to 6 and the overviews as md, csv and tex, and all numbers in cells.csv, in {out}")
    return 0


if __name__ == "__main__":
    run(main)
