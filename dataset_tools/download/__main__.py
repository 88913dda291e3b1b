"""download: fetch every video of the sources with yt-dlp; each one has a row, whatever became of it.

Status is ok, permanent (gone, private, not a video, no sound of its own: trying again will not help), auth (needs an
account's cookies), transient (network, server, rate limit, a live stream: run again) or failed (this machine: disk, rights, no
JavaScript runtime for YouTube; or the manifest: no url yet, a list in place of one video, no file where a local one leads:
mend it, run again). A broken download resumes where it stopped, also in the next run. What is finished is kept outside
DVC's reach, by URL and format, and not fetched twice; nor is asked again what was permanent, or auth while the cookies are the same, unless --again.
Before more than 20 videos one is fetched alone: what would hit all ends the run at once, what would hit all of one site costs
its videos alone, which are not asked for.
Every file is named <video_id>.mp4, whatever its container: readers go by the content. `dead_links.csv` lists what a
person could still find elsewhere.
"""

import os
import sys

from dataset_tools.lib.core.accounting import check_success_rate
from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.schema import read_records


def main(argv: list[str] | None = None) -> int:
    """Run the stage."""
    parser = stage_parser("dataset_tools.download", __doc__)
    parser.add_argument("--again", action="store_true", help="also ask for videos that an earlier run gave up")
    args = parser.parse_args(argv)
    layout = layout_of(args)

    from dataset_tools.download.dead_links import DeadLink
    from dataset_tools.download.params import Params
    from dataset_tools.download.stage import STAGE, download

    params = load_params(layout.params, STAGE, Params)
    try:
        rows = download(layout, params, again=args.again)
    except (
        KeyboardInterrupt
    ):  # threads sleep, or wait for a site: nothing is lost where they stand, and FFmpeg ends with us
        from dataset_tools.download.ydl_options import remove_cookie_copies

        remove_cookie_copies()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(130)
    table = layout.stage(STAGE) / "rows.csv"
    for row in rows:
        if row.warning:
            say(STAGE, f"{row.id}: {row.warning}")
    if dead := read_records(table.with_name("dead_links.csv"), DeadLink):
        say(STAGE, f"{len(dead)} dead or closed links: {table.with_name('dead_links.csv')} says where to look for them")
    say(STAGE, check_success_rate(rows, stage=STAGE, min_ok=params.min_ok, table=table))
    return 0


if __name__ == "__main__":
    run(main)
