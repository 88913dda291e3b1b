"""shards: join the results of clips, pose, i3d, audio and split into data/<corpus>/shards/<split>-00000.h5, ... and rows.csv.

Every clip of clips/rows.csv has a row: in a shard, or dropped with the reason. Streams whose lengths differ only by rounding are
cut to the shortest. Streams that differ by more belong to different clips or runs, so the clip is dropped.

Export to other formats, and import:
    python -m dataset_tools.shards export --corpus C --format webdataset --out DIR    # tars of one sample per clip
    python -m dataset_tools.shards export --corpus C --format released --out DIR      # audio_s2/ video_s2/ motion_s2/
    python -m dataset_tools.shards export --corpus C --format hdf5 --out s3://bucket/folder    # the shards as they are
    python -m dataset_tools.shards import --corpus C --from DIR                       # from audio_s2/ ... into shards
"""

import argparse
from pathlib import Path

from dataset_tools.lib.core.addresses import as_path
from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import frames_to_seconds
from dataset_tools.shards.params import EXPORTS, Params

MAX_PRINTED = 20  # dropped clips that are printed


def _parser() -> argparse.ArgumentParser:
    parser = stage_parser("dataset_tools.shards", __doc__)
    commands = parser.add_subparsers(dest="command", metavar="{export,import}", help="default: build the shards")
    for command, doc in (("export", "write the shards in another format"), ("import", "make shards of a folder")):
        sub = commands.add_parser(command, help=doc, description=doc)
        sub.add_argument("--corpus", default=argparse.SUPPRESS, help="as for building")
        sub.add_argument("--root", type=Path, default=argparse.SUPPRESS, help="as for building")
        if command == "export":
            sub.add_argument("--format", choices=EXPORTS, required=True)
            sub.add_argument(
                "--out", required=True, metavar="DIR", help="an empty or a new folder, also s3://bucket/folder"
            )
        else:
            sub.add_argument("--from", type=Path, required=True, metavar="DIR", dest="source")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the stage, an export or an import."""
    args = _parser().parse_args(argv)
    layout = layout_of(args)

    from dataset_tools.shards.stage import build_shards, export, import_released

    exports = args.command == "export"  # which needs no params.yaml
    params = Params() if exports and not layout.params.exists() else load_params(layout.params, "shards", Params)
    if exports:
        for name, count in export(layout.stage("shards"), args.format, as_path(args.out), params.workers).items():
            say("shards", f"{name}: {count}")
        return 0

    rows = import_released(layout, params, args.source) if args.command == "import" else build_shards(layout, params)
    kept = [row for row in rows if row.status == "ok"]
    for split in SPLITS:
        inside = [row for row in kept if row.split == split]
        if inside:
            seconds = frames_to_seconds(sum(row.frames for row in inside))
            say("shards", f"{split}: {len(inside)} clips, {seconds:.1f} s, {len({row.shard for row in inside})} shards")
    dropped = [row for row in rows if row.status != "ok"]
    for row in dropped[:MAX_PRINTED]:
        say("shards", f"dropped {row.id}: {row.reason}")
    if len(dropped) > MAX_PRINTED:
        say("shards", f"... and {len(dropped) - MAX_PRINTED} more, all in {layout.stage('shards') / 'rows.csv'}")
    return 0


if __name__ == "__main__":
    run(main)
