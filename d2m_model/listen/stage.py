"""A listening study in the browser, P.808-style: does the music fit the dance, and how good does it sound?

Serve the study, on this machine until --host says otherwise; votes are in runs/<corpus>/listen/study.db:
    python -m d2m_model.listen --corpus demo [--port 8321] [--host 127.0.0.1]
Mean opinion scores with their intervals, and the raw votes:
    python -m d2m_model.listen --results --corpus demo
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_model.listening import sounds
from d2m_model.listening.design import Stimulus, headphone_stimuli, session, stimuli_of
from d2m_model.listening.media import excerpt_frames, file_name, write_media
from d2m_model.listening.results import Criteria, write_results
from d2m_model.listening.store import Store
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.shard_format import SPLITS
from dataset_tools.base.shard_set import ShardSet
from dataset_tools.base.timebase import frames_to_samples
from dataset_tools.base.workers import progress

CONSENT = Path(__file__).with_name("listening") / "consent.txt"
HEADPHONE_TRIALS = 6
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `listen` of params.yaml. The defaults are the paper's panel: 26 raters of 15 items in each task."""

    raters: int = 26
    """Places; more may be given later."""
    items: int = 15
    """Judgements of one rater in each of the two tasks, beside practice and checks."""
    split: str = "test"
    """Whose clips are judged."""
    clips: int = 20
    """Clips of the split in the study, drawn from the seed."""
    systems: tuple[str, ...] = ()
    """Systems of Table 1 to judge, models, baselines, those of others and controls, by their names there; empty: all that
    params.yaml names. Ground truth, VQ reconstructions and shuffled ground truth are always among them."""
    seconds: float = 10.0
    """Longest excerpt; a clip is heard from its beginning."""
    loudness: float = -23.0
    """LUFS that every sound is brought to; lower for all where one would clip."""
    practice: int = 2
    """Items at the start of each task that do not count, 0 to 2: the ends of the scale."""
    checks: int = 2
    """Attention checks in each task, 0 to 5."""
    checks_right: float = 1.0
    """Share of a rater's attention checks that must be right for the votes to count."""
    headphones_right: int = 5
    """Of the six trials of the headphone test, for the votes to count; 0 leaves the test out."""
    consent: str = ""
    """Text file of the first page, relative to the root; empty: d2m_model/listening/consent.txt."""
    draws: int = 2000
    """Bootstrap resamples of raters and clips."""
    seed: int = 0
    """Of the clips, of who hears what, and of the bootstrap."""

    def __post_init__(self):
        for name in ("raters", "items", "clips"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.split in SPLITS, f"split must be one of {', '.join(SPLITS)}, found '{self.split}'")
        require(self.seconds >= 2, f"seconds must be at least 2, found {self.seconds}")
        require(-50 <= self.loudness <= -10, f"loudness must be -50 to -10 LUFS, found {self.loudness}")
        require(0 <= self.practice <= 2, f"practice must be 0 to 2, found {self.practice}")
        require(0 <= self.checks <= 5, f"checks must be 0 to 5, found {self.checks}")
        require(0 <= self.checks_right <= 1, f"checks_right must be 0 to 1, found {self.checks_right}")
        require(0 <= self.headphones_right <= HEADPHONE_TRIALS, f"headphones_right must be 0 to {HEADPHONE_TRIALS}")
        require(self.draws >= 100, f"draws must be at least 100, found {self.draws}")


def prepare(layout: Layout, params: Params) -> tuple[Store, dict[Stimulus, str]]:
    """Begin the study or go on with it: the database, and {stimulus: file name} of files that are there.

    Raises UserError where a stage before has not run, or where the study was begun with other parameters or sounds.
    """
    shards = ShardSet(layout.stage("shards"), params.split)
    systems = sounds.systems_of(layout, params.systems)
    drawn = np.random.default_rng(params.seed).permutation(len(shards.clips))[: params.clips]
    clips = [shards.clips[i].clip_id for i in sorted(drawn)]
    stimuli = [s for task, names in systems.items() for s in stimuli_of(task, names, clips)]
    if params.headphones_right:
        stimuli += headphone_stimuli()
    dealt = {name: getattr(params, name) for name in ("split", "items", "practice", "checks", "seed", "seconds", "loudness")}
    dealt |= {"systems": systems, "clips": clips, "headphones": bool(params.headphones_right)}
    store = Store(layout.stage("listen") / "study.db")
    secret = store.begin(dealt | {"sounds": sounds.fingerprint(layout, params.split, systems["coherence"], clips)})
    files = {s: file_name(secret, s) for s in stimuli}
    folder = layout.stage("listen") / "media"
    if not all((folder / name).is_file() for name in files.values()):
        make_files(layout, params, shards, systems["coherence"], clips, stimuli, secret)
    store.offer({file: s for s, file in files.items()})
    return store, files


def make_files(
    layout: Layout, params: Params, shards: ShardSet, systems: list[str], clips: list[str], stimuli: list[Stimulus], secret: str
) -> None:  # fmt: skip
    """Write the files of all stimuli that are not there, their sounds at one loudness."""
    frames = {c.clip_id: excerpt_frames(c.frames, params.seconds) for c in shards.clips}
    heard = {}
    for system in progress(systems, "listen: sounds"):
        found = sounds.system_sounds(layout, shards, system, clips, params.seed)
        heard |= {(system, clip): audio[: frames_to_samples(frames[clip])] for clip, audio in found.items()}
    gains, level = sounds.loudness_gains(heard, params.loudness)
    if level < params.loudness - 0.05:
        say("listen", f"all sounds are at {level:.1f} LUFS: at {params.loudness:g} the loudest moments of one would clip")
    music = lambda system, clip: heard[system, clip] * np.float32(gains[system, clip])
    folder = layout.stage("listen") / "media"
    folder.mkdir(parents=True, exist_ok=True)
    for stray in folder.glob(".*"):  # of a start that was killed
        stray.unlink()
    write_media(folder, secret, [s for s in stimuli if s.task == "headphones"], music)
    for clip in progress(clips, "listen: files"):
        mine = [s for s in stimuli if s.task != "headphones" and s.clip == clip]
        write_media(folder, secret, mine, music, layout.stage("clips") / f"{clip}.mp4", frames[clip])


def application(layout: Layout, params: Params):
    """The study as a WSGI application; see `d2m_model.listening.web`."""
    from d2m_model.listening.web import create_app

    page = layout.root / params.consent if params.consent else CONSENT
    if not page.is_file():
        raise UserError(f"{page}: no such file; listen.consent names the text of the first page")
    try:
        text = page.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{page}: not UTF-8 text; save it as UTF-8") from None
    store, files = prepare(layout, params)
    order = functools.partial(
        session, list(files), items=params.items, checks=params.checks, practice=params.practice, seed=params.seed
    )
    steps = len(order(0))
    consent = text.replace("{minutes}", str(max(1, round(steps * (params.seconds + 6) / 60))))
    deal = lambda number: [files[s] for s in order(number)]
    return create_app(store, layout.stage("listen") / "media", deal, places=params.raters, consent=consent)


def serve(app, host: str, port: int) -> None:
    """Serve until interrupted. Raises UserError where the address can't be had."""
    import waitress

    try:
        server = waitress.create_server(app, host=host, port=port, threads=8)
    except (OSError, ValueError) as err:
        raise UserError(f"listen: can't serve on {host}:{port} ({err}); give another --port or --host") from None
    if host not in LOOPBACK:
        say("listen", "anyone who reaches this address can take part; put a proxy with TLS in front (docs/listening.md)")
    say("listen", f"open http://{host}:{server.effective_port}/ (Ctrl-C ends it; votes are kept, a new start goes on)")
    server.run()


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = stage_parser("d2m_model.listen", __doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8321, help="0 takes any free one (default: 8321)")
    parser.add_argument("--results", action="store_true", help="write mos.json, votes.csv and raters.csv instead of serving")
    args = parser.parse_args(argv)
    if not 0 <= args.port <= 65535:
        raise UserError(f"--port must be 0 to 65535, found {args.port}")
    layout = layout_of(args)
    params = load_params(layout.params, "listen", Params)
    if args.results:
        base = layout.stage("listen") / "study.db"
        if not base.is_file():
            raise UserError(f"{base}: no study yet; run `python -m d2m_model.listen --corpus {layout.corpus}` and let people vote")
        criteria = Criteria(checks_right=params.checks_right, headphones_right=params.headphones_right)
        for line in write_results(Store(base), layout.stage("listen"), criteria, draws=params.draws, seed=params.seed):
            say("listen", line)
        return 0
    serve(application(layout, params), args.host, args.port)
    return 0


if __name__ == "__main__":
    run(main)
