"""All results on one self-contained page: P4 against FAD in one picture, players with beat time lines (Fig. 5), losses (Fig. 6),
tables.

    python -m d2m_model.report --corpus demo
"""

import json

from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = stage_parser("d2m_model.report", __doc__).parse_args(argv)
    layout = layout_of(args)
    layout.require("evaluate")

    from d2m_model.report.params import Params
    from d2m_model.report.stage import build_page, summary

    params = load_params(layout.params, "report", Params)
    page = build_page(layout, params)
    size = len(page.encode()) / 1e6
    if size > params.max_megabytes:
        raise UserError(
            f"report: the page would be {size:.0f} MB, over max_megabytes {params.max_megabytes}; lower max_clips"
        )
    out = layout.stage("report") / "index.html"
    write_text(out, page)
    say("report", f"{size:.1f} MB, opens offline")
    print(summary(layout, json.loads((layout.stage("evaluate") / "metrics.json").read_text())["systems"]), flush=True)
    return 0


if __name__ == "__main__":
    run(main)
