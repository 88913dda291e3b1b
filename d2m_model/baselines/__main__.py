"""Music for the test clips by other systems: train one of the baselines of Table 1 and generate its music.

    python -m d2m_model.baselines --corpus demo --system dance2music [--resume]

dance2music          similar notes where poses are similar: the offline beam search, or (method: online) its network
foley_music          graph encoder and music Transformer; trained on the songs' scores, else on transcripts by basic-pitch
cmt                  bars as dense and loud as the video moves; trained on a folder of MIDI files (midi: DIR), else as foley_music
unconditional_prior  a prior of the corpus's own codes, sampled without the dance; stands in for Random JukeBox
random_codes         uniformly random codes, decoded

Parameters are in section `baselines.<system>` of params.yaml; the defaults are the published sizes. Outputs are in
runs/<corpus>/baselines/<system>/: <clip_id>.wav, <clip_id>.mid if the system writes scores, rows.csv, about.txt (what the system
is and was trained on, for the tables); and model.pt, metrics.json and curves.csv if the system is trained. The list `systems` of
params.yaml says which systems `dvc repro` runs and `evaluate` scores.
"""

from d2m_model.baselines.params import SYSTEMS, Params
from d2m_model.training.command import training_parser
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import layout_of, run, say
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = training_parser("d2m_model.baselines", __doc__)
    parser.add_argument("--system", required=True, choices=SYSTEMS, help="which baseline")
    args = parser.parse_args(argv)
    layout = layout_of(args)
    layout.require("shards")

    from d2m_model.baselines.dance import STAGE, Corpus
    from d2m_model.baselines.stage import make_music, system_module
    from d2m_model.training.seeding import seed_everything

    params = load_params(layout.params, STAGE, Params)
    system = system_module(args.system)
    own = load_params(layout.params, f"{STAGE}.{args.system}", system.Params)
    corpus = Corpus(layout=layout, system=args.system, seed=params.seed, resume=args.resume)
    seed_everything(params.seed, params.threads)
    model = system.train(corpus, own)
    write_text(corpus.folder / "about.txt", f"{system.about(corpus, own)}\n")
    rows = make_music(model, corpus, params)
    notes = sum(row.notes or 0 for row in rows)
    say(
        STAGE,
        f"{args.system}: {len(rows)} clips, {sum(row.seconds for row in rows):.1f} s of music{f', {notes} notes' if notes else ''}",
    )
    return 0


if __name__ == "__main__":
    run(main)
