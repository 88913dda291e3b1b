"""JukeBox's three-level VQ-VAE, a codec for audio: trained on the train split, or as published.

    python -m d2m_model.vqvae --corpus demo

`vqvae.weights` of params.yaml names published weights (`jukebox_vqvae`), which are measured instead of trained.

The levels share nothing, so each is trained separately. In addition to JukeBox's waveform, multispectral and commitment
losses there is a mel loss, and quantisation starts after a warm-up. With both, a small network keeps the onsets after a minute
of training. `warm_up: 0` and `mel: 0` give JukeBox's own recipe.
"""

from d2m_model.training.command import training_parser
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.cli import layout_of, say
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = training_parser("d2m_model.vqvae", __doc__).parse_args(argv)
    layout = layout_of(args)
    layout.require("shards")

    from d2m_model.training.distributed import processes, rank
    from d2m_model.training.loop import training_run
    from d2m_model.vqvae.params import Params
    from d2m_model.vqvae.stage import take_published_vqvae, train
    from dataset_tools.lib.core.weights import licence_of, locate

    params = load_params(layout.params, "vqvae", Params)
    with processes():
        shards = layout.stage("shards")
        if not params.weights:
            run = training_run(layout, "vqvae", "", params, [shards], "", args.resume)
            metrics = train(shards, params, layout.stage("vqvae"), run)
        elif rank() == 0:
            metrics = take_published_vqvae(shards, locate(params.weights, layout), params, layout.stage("vqvae"))
            say(
                "vqvae",
                f"{metrics['weights']} taken as published, not trained; its licence: {licence_of(params.weights, layout)}",
            )
        else:
            metrics = {}
    for level, scores in metrics.get("levels", {}).items():
        say("vqvae", f"level {level}: " + ", ".join(f"{k} {v:.3g}" for k, v in scores.items()))
    return 0


if __name__ == "__main__":
    cli.run(main)
