"""Fine-tune the decoder of one level of the VQ-VAE as a GAN (paper, section 3.3); encoder and codebook do not change.

With `synthesizer.decoder: istft` an inverse-STFT decoder (Vocos) is trained from scratch for the same codes.

    python -m d2m_model.synthesizer --corpus demo --level high
To use a VQ-VAE whose decoder was fine-tuned elsewhere, such as D2M-GAN's published ones:
    python -m d2m_model.synthesizer --level high --weights FILE
"""

import dataclasses

from d2m_model.training.command import training_parser
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.cli import layout_of, say
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import LEVELS


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = training_parser("d2m_model.synthesizer", __doc__)
    parser.add_argument(
        "--level", choices=tuple(LEVELS), default="high", help="whose decoder to fine-tune (default: high)"
    )
    parser.add_argument(
        "--weights", help="overrides synthesizer.weights of params.yaml: published, not fine-tuned here"
    )
    args = parser.parse_args(argv)
    layout = layout_of(args)
    layout.require("shards", "vqvae")

    from d2m_model.metrics.embedding import Embedder
    from d2m_model.synthesizer.params import Params
    from d2m_model.synthesizer.stage import take_published_decoder, train
    from d2m_model.training.distributed import processes, rank
    from d2m_model.training.loop import training_run
    from dataset_tools.lib.core.weights import locate

    params = load_params(layout.params, "synthesizer", Params)
    params = dataclasses.replace(params, weights=args.weights or params.weights)
    out = layout.stage("synthesizer") / args.level
    with processes():
        shards, vqvae = layout.stage("shards"), layout.stage("vqvae") / "model.pt"
        if not params.weights:
            run = training_run(
                layout, "synthesizer", args.level, params, [shards, vqvae], f"--level {args.level}", args.resume
            )
            metrics = train(
                shards,
                vqvae,
                args.level,
                params,
                out,
                run,
                Embedder(params.embedding, layout) if params.embedding else None,
            )
            for name, scores in metrics.get("scores", {}).items():
                say(
                    "synthesizer",
                    f"{args.level} {name} decoder, training clips coded and decoded: "
                    + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()),
                )
            if metrics.get("kept") == "own":
                what = "the inverse STFT plays worse" if params.decoder == "istft" else "fine-tuning made it worse"
                say("synthesizer", f"{args.level}: {what}; the VQ-VAE's own decoder is kept")
        elif rank() == 0:
            file = locate(params.weights.replace("{level}", args.level), layout)
            metrics = take_published_decoder(shards, vqvae, file, args.level, params, out)
            other = (
                ""
                if metrics["same_codebook"]
                else f"; its codebook is not the one of {vqvae}: only it encodes and decodes this level"
            )
            say("synthesizer", f"{args.level}: {file.name} taken as published, not fine-tuned{other}")
        else:
            metrics = {}
    for when in ("before", "after") if metrics else ():
        say("synthesizer", f"{args.level} {when}: " + ", ".join(f"{k} {v:.3g}" for k, v in metrics[when].items()))
    return 0


if __name__ == "__main__":
    cli.run(main)
