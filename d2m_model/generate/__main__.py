"""Generate music for dances with trained models: for a corpus's test clips, or for any dance.

As a pipeline stage, for every test clip of the shards -> runs/<corpus>/generate/<level>-<variant>/<clip_id>.wav:
    python -m d2m_model.generate --corpus demo --level high --variant prior
For your own dance video of any length: the video with new music, or the music alone:
    python -m d2m_model.generate --video IN.mp4 --out OUT.mp4
    python -m d2m_model.generate --video IN.mp4 --out X.wav --level both
For every video of a folder; unreadable ones are named at the end:
    python -m d2m_model.generate --video DIR --out DIR
With the pose from a file; with beats that you know or corrected, a style and several takes; with a part generated again:
    python -m d2m_model.generate --pose POSE.json --out X.wav
    python -m d2m_model.generate --video IN.mp4 --beats BEATS.json --style house --takes 3 --out X.wav
    python -m d2m_model.generate --video IN.mp4 --from X.wav --redo 4.0-6.5 --seed 7 --out Y.wav
For the second of several dancers; on the beats of the video's own music; with these beats for a music program:
    python -m d2m_model.generate --video IN.mp4 --dancer 1 --snap IN.mp4 --beats-out BEATS.mid --out OUT.mp4
With an excerpt of your own songs, fitted to the dance's beats:
    python -m d2m_model.generate --video IN.mp4 --own-music DIR --out OUT.mp4
With --level both, the two results are X-high.wav and X-low.wav. With --json, the beats of X.wav are written to X.json.
"""

import argparse
from functools import partial

from d2m_model.generate.arguments import check_together, chosen, outputs, parser_of
from d2m_model.generate.params import Params
from d2m_model.nets.variants import PRIOR
from dataset_tools.lib.core.atomic import check_writable
from dataset_tools.lib.core.cli import layout_of, run, say
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import LEVELS


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = parser_of(__doc__).parse_args(argv)
    layout = layout_of(args)
    params = chosen(args, layout)
    check_together(args, params)
    if args.seed is not None and args.variant != PRIOR:
        say(
            "generate", f"--seed changes nothing with {args.variant}: D2M-GAN draws nothing at random when it generates"
        )
    levels = list(LEVELS) if args.level == "both" else [args.level]
    if args.out:
        _for_own_dance(args, levels, layout, params)
        return 0
    layout.require("shards")
    from d2m_model.generate.models import load_model
    from d2m_model.generate.stage import generate_split
    from d2m_model.training.music_model import input_attributes
    from dataset_tools.lib.shard_io.shard_set import ShardSet

    for level in levels:
        name = f"{level}-{args.variant}"
        shards = ShardSet(layout.stage("shards"), params.split)
        load = partial(load_model, layout, level, args.variant, input_attributes(shards.info))
        rhythm = layout.stage("rhythm") / "beats"
        rows = generate_split(
            shards, load, layout.stage("generate") / name, params, f"generate {name}", rhythm=rhythm, beats=args.json
        )
        say("generate", f"{name}: {len(rows)} clips, {sum(row.seconds for row in rows):.1f} s of music")
    return 0


def _for_own_dance(args: argparse.Namespace, levels: list[str], layout: Layout, params: Params) -> None:
    from d2m_model.generate.models import load_models, load_models_for_pose
    from d2m_model.generate.own_beats import Given
    from d2m_model.generate.own_videos import fit_music, generate_dance, generate_folder, pose_of
    from d2m_model.generate.takes import Again

    beats_out = args.beats_out or ()
    for path in beats_out:
        check_writable(path)
    dancer = args.dancer or 0
    given = Given(dancer=dancer, beats=args.beats, tempo=args.tempo, snap=args.snap, shift=args.shift or 0.0)
    if args.own_music:
        (out,) = outputs(args.out, "own")[0].values()
        given = given.with_pose(pose_of(args.pose, args.pose_fps, args.video, dancer) if args.pose else None)
        fit_music(
            args.own_music, given, args.video, out, layout, params, beats=args.json, mix=args.mix, beats_out=beats_out
        )
    elif args.video and args.video.is_dir():
        models = load_models(layout, levels, args.variant, args.genre)
        generate_folder(args.video, args.out, args.level, models, layout, params, beats=args.json, mix=args.mix)
    else:
        outs = outputs(args.out, args.level, args.takes)
        again = Again(take=args.take, redo=args.redo, keep=args.keep) if args.take else None
        if args.pose:
            pose = pose_of(args.pose, args.pose_fps, args.video, dancer)
            models, pose = load_models_for_pose(
                layout, levels, args.variant, args.genre, pose, video=args.video is not None
            )
            given = given.with_pose(pose)
        else:
            models = load_models(layout, levels, args.variant, args.genre, beats=not given.needs_pose)
        generate_dance(
            args.video,
            outs,
            models,
            layout,
            params,
            beats=args.json,
            given=given,
            again=again,
            mix=args.mix,
            beats_out=beats_out,
        )


if __name__ == "__main__":
    run(main)
