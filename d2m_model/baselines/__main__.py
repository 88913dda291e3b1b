"""Other systems' music for the test clips: the baselines of Table 1, each trained and played by itself.

    python -m d2m_model.baselines --corpus demo --system dance2music [--resume]

dance2music          notes that are alike where poses are alike: the offline beam search, or (method: online) its network
foley_music          graph encoder and music Transformer; learns the songs' scores, else transcripts by basic-pitch
cmt                  bars as dense and loud as the video moves; learns a folder of MIDI files (midi: DIR), else as foley_music
unconditional_prior  a prior of the corpus's own codes, sampled without the dance, for Random JukeBox
random_codes         uniformly random codes, decoded

Parameters are in section `baselines.<system>` of params.yaml; absent, the published sizes. Writes
runs/<corpus>/baselines/<system>/: <clip_id>.wav, <clip_id>.mid where the system writes scores, rows.csv, about.txt (what it is
and learnt from, for the tables), and of a system that trains model.pt, metrics.json and curves.csv. Which systems `dvc repro`
runs and `evaluate` scores is the list `systems` of params.yaml.
"""

from d2m_model.baselines.dance import STAGE, Corpus
from d2m_model.baselines.params import SYSTEMS, Params
from d2m_model.baselines.stage import make_music, system_module
from d2m_model.training.loop import training_parser
from d2m_model.training.seeding import seed_everything
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import layout_of, run, say
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = training_parser("d2m_model.baselines", __doc__)
    parser.add_argument("--system", required=True, choices=SYSTEMS, help="which baseline")
    args = parser.parse_args(argv)
    layout = layout_of(args)
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
