"""The paper's Tables 1 to 6 with its numbers beside ours, and tables of all scored systems and controls.

    python -m d2m_model.tables --corpus demo [--print md|csv|tex]
    python -m d2m_model.tables --corpus demo --compare      # the models' scores beside the range over other seeds

Our numbers are of protocol P1, pooled (micro), because the paper's numbers fit a pooled count. The paper measured on AIST++
(Tables 1, 3 to 6) and TikTok (Table 2). On another corpus, the difference compares different music, and the note under the table
says so. Only the paper's numbers are typed by hand, in paper_tables.csv.
"""

from d2m_model.tables.params import FORMS, Params
from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.params import load_params


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
    layout.require("evaluate")

    from d2m_model.metrics.seed_ranges import compare, ranges_file, read_ranges
    from d2m_model.metrics.table_forms import written
    from d2m_model.tables.stage import make_tables, read_results

    params = load_params(layout.params, "tables", Params)
    results = read_results(layout)
    if args.compare:
        print(compare(results.metrics, read_ranges(layout.root / ranges_file(layout.corpus)), layout))
        if (page := layout.stage("report") / "index.html").is_file():
            print(f"The report: {page}")
        return 0
    for table in make_tables(layout, params, results):
        if args.form:
            print(written(args.form, table))
    say(
        "tables",
        f"Tables 1 to 6 and the overviews as md, csv and tex, and all numbers in cells.csv, in {layout.stage('tables')}",
    )
    return 0


if __name__ == "__main__":
    run(main)
