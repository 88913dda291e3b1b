"""download: fetch every video of the sources with yt-dlp. Each video has a row in rows.csv.

Status of a row:
  ok         the video is complete
  permanent  gone, private, not a video, no audio of its own: trying again will not help
  auth       needs the cookies of an account
  transient  network, server, rate limit, a live stream: run again
  failed     this machine (disk, rights, no JavaScript runtime for YouTube) or the manifest (empty url, a url that leads to a
             list or to a missing local file): fix it and run again

An interrupted download is resumed, also by the next run. Finished videos are kept outside DVC, by url and format, and are not
fetched twice. Without --again, videos that were permanent are not requested again, nor those that were auth while the cookies
stay the same.

If there are more than 20 videos, one is fetched first. A failure that would hit all videos ends the run at once; one that
would hit all videos of a site skips only these.

Every file is named <video_id>.mp4, whatever its container: readers go by the content. `dead_links.csv` lists the videos that a
person might still find elsewhere.
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
    layout.table("sources", "videos.csv")  # before anything heavy is loaded

    from dataset_tools.download.dead_links import DeadLink
    from dataset_tools.download.params import Params
    from dataset_tools.download.stage import STAGE, download

    params = load_params(layout.params, STAGE, Params)
    try:
        rows = download(layout, params, again=args.again)
    except (
        KeyboardInterrupt
    ):  # exit without waiting for the threads, which sleep or wait for a site: nothing is lost, and FFmpeg ends with us
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
