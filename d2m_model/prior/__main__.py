"""Train a prior: a network that generates music codes from a rhythm and a style, for one level.

    python -m d2m_model.prior --corpus demo --level high
    python -m d2m_model.prior --corpus demo --level low

--dry-run prints the cost of the training and stops. The prior of level low is conditioned on the codes of level high.
`prior.weights` of params.yaml names a pretrained prior to continue from, `prior.music` a folder of further training music
without video.
"""

from d2m_model.training.command import training_parser
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.cli import layout_of, say
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import LEVELS


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = training_parser("d2m_model.prior", __doc__)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the size of the network and the cost of its training, and stop"
    )
    args = parser.parse_args(argv)
    layout = layout_of(args)
    if not args.dry_run:
        layout.require("shards", f"synthesizer/{args.level}")

    from d2m_model.prior.params import Params
    from d2m_model.prior.stage import input_files, network_sizes, train
    from d2m_model.prior.task import training_forecast
    from d2m_model.training.distributed import processes
    from d2m_model.training.loop import training_run
    from d2m_model.training.vqvae_files import load_vqvae

    params = load_params(layout.params, "prior", Params)
    if args.dry_run:
        say("prior", f"{args.level}: {training_forecast(network_sizes(params, args.level, layout), params).summary()}")
        return 0
    decoder = layout.stage("synthesizer") / args.level / "model.pt"
    with processes():
        vqvae = load_vqvae(decoder)
        run = training_run(
            layout,
            "prior",
            args.level,
            params,
            input_files(layout, args.level, params),
            f"--level {args.level}",
            args.resume,
        )
        metrics = train(layout, vqvae, args.level, params, layout.stage("prior") / args.level, run)
    if not metrics:
        return 0
    scores = ", ".join(f"{name} {value:.3f}" for name, value in metrics["scores"].items())
    say(
        "prior",
        f"{args.level}: {metrics['steps']} steps on {metrics['pieces']} pieces, seed {metrics['seed']}; {scores}",
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
