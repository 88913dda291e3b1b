"""The paper's Tables 1 to 6 with its numbers beside ours, and tables of all scored systems and controls.

    python -m d2m_model.tables --corpus demo [--print md|csv|tex]
    python -m d2m_model.tables --corpus demo --compare      # the models' scores beside the range over other seeds

Our numbers are of protocol P1, pooled (micro), because the paper's numbers fit a pooled count. The paper's are measured on AIST++
(Tables 1, 3 to 6) and TikTok (Table 2). On any other corpus the difference compares different things, and the note under the
table says so. Only the paper's own numbers are typed by hand, in paper_tables.csv.
"""

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

    import pandas as pd

    from d2m_model.metrics.every_table import every_table
    from d2m_model.metrics.seed_ranges import compare, ranges_file, read_ranges
    from d2m_model.metrics.table_forms import Table, written
    from d2m_model.tables.params import Params
    from d2m_model.tables.stage import cells, note, paper_table, read_results

    params = load_params(layout.params, "tables", Params)
    results = read_results(layout)
    if args.compare:
        print(compare(results.metrics, read_ranges(layout.root / ranges_file(layout.corpus)), layout))
        if (page := layout.stage("report") / "index.html").is_file():
            print(f"The report: {page}")
        return 0
    out = layout.stage("tables")
    tables = every_table(results.metrics, params.digits)
    for number, caption in CAPTIONS.items():
        text = note(number, layout.corpus, results, params.digits)
        cells_of = paper_table(number, results, params.digits)
        tables.append(Table(name=f"table{number}", title=f"Table {number}: {caption}", cells=cells_of, note=text))
    for table in tables:
        for form in FORMS:
            write_text(out / f"{table.name}.{form}", written(form, table))
        if args.form:
            print(written(args.form, table))
    every = pd.concat([cells(number, results) for number in CAPTIONS], ignore_index=True)
    write_text(out / "cells.csv", every.round(6).to_csv(index=False))
    say("tables", f"Tables 1 to 6 and the overviews as md, csv and tex, and all numbers in cells.csv, in {out}")
    return 0


if __name__ == "__main__":
    run(main)
