"""D2M-GAN (paper, section 3): train a generator of music codes from dance, for one level and variant.

    python -m d2m_model.d2m_gan --corpus demo --level high --variant full
    python -m d2m_model.d2m_gan --corpus demo --level high --variant paper.full
    python -m d2m_model.d2m_gan --list-variants
To use the published motion encoder and generator instead of training:
    python -m d2m_model.d2m_gan --level high --variant released.full --motion-weights FILE --generator-weights FILE
"""

import dataclasses

from d2m_model.nets.presets import PRESETS, preset_of
from d2m_model.nets.variants import listing, variant_of
from d2m_model.training.command import training_parser
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.cli import layout_of, say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import LEVELS


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = training_parser("d2m_model.d2m_gan", __doc__)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument(
        "--variant", default="full", help="see --list-variants; of another preset: paper.full (default: full)"
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), help="overrides d2m_gan.preset of params.yaml")
    for part in ("motion", "generator"):
        parser.add_argument(
            f"--{part}-weights", help=f"overrides d2m_gan.{part}_weights of params.yaml: published, not trained"
        )
    parser.add_argument("--list-variants", action="store_true", help="print the variants and stop")
    args = parser.parse_args(argv)
    if args.list_variants:
        print(listing())
        return 0
    layout = layout_of(args)

    from d2m_model.d2m_gan.params import Params

    params = load_params(layout.params, "d2m_gan", Params)
    given = {
        name: value for name in ("preset", "motion_weights", "generator_weights") if (value := getattr(args, name))
    }
    try:
        params = dataclasses.replace(params, **given)
    except ValueError as err:
        raise UserError(f"d2m_gan: {err}") from None
    preset = preset_of(params.preset, args.variant).name
    if args.preset and args.preset != preset:
        raise UserError(f"d2m_gan: --preset {args.preset} and --variant {args.variant} name two presets; leave one out")
    if preset in (same := variant_of(args.variant).same):
        say("d2m_gan", f"{args.variant} of preset {preset} is no different from full: {same[preset]}")
    if params.genres and preset != "released":
        say(
            "d2m_gan",
            f"{args.variant} of preset {preset} has no genre condition: only preset released reads d2m_gan.genres",
        )
    if not params.motion_weights:
        layout.require("shards")

    from d2m_model.d2m_gan.stage import take_published_generator, train
    from d2m_model.training.distributed import processes, rank
    from d2m_model.training.loop import training_run
    from d2m_model.training.vqvae_files import decoder_of, load_vqvae
    from dataset_tools.lib.core.weights import locate

    shards, decoder = layout.stage("shards"), decoder_of(layout, args.level, args.variant)
    name = f"{args.level}-{args.variant}"
    options = f"--level {args.level} --variant {args.variant}" + (f" --preset {args.preset}" if args.preset else "")
    with processes():
        vqvae = load_vqvae(decoder)
        if params.motion_weights:
            if rank() == 0:
                motion, generator = (
                    locate(spec.replace("{level}", args.level), layout)
                    for spec in (params.motion_weights, params.generator_weights)
                )
                take_published_generator(
                    motion, generator, vqvae, args.level, args.variant, params, layout.stage("d2m_gan") / name
                )
                say("d2m_gan", f"{name}: {motion.name} and {generator.name} taken as published, not trained")
            return 0
        also = [dataclasses.replace(layout, corpus=corpus, shards=None).stage("shards") for corpus in params.also]
        run = training_run(layout, "d2m_gan", name, params, [shards, decoder, *also], options, args.resume)
        metrics = train(shards, vqvae, args.level, args.variant, params, layout.stage("d2m_gan") / name, run, also)
    if metrics:
        shown = ", ".join(f"{loss} {value:.3f}" for loss, value in metrics["losses"].items())
        say("d2m_gan", f"{name} ({preset}): {params.steps} steps on {metrics['train_windows']} windows; {shown}")
    return 0


if __name__ == "__main__":
    cli.run(main)
