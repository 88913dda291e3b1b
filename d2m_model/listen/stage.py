"""The command `listen`: prepares a listening study and its web application."""

import functools
from pathlib import Path

import numpy as np

from d2m_model.listen import study_audio
from d2m_model.listen.design import Stimulus, headphone_stimuli, session, stimuli_of
from d2m_model.listen.media import excerpt_frames, file_name, write_media
from d2m_model.listen.params import Params
from d2m_model.listen.store import Store
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.packs import local_file
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import frames_to_samples
from dataset_tools.lib.shard_io.shard_set import ShardSet

CONSENT = Path(__file__).with_name("consent.txt")


def prepare(layout: Layout, params: Params) -> tuple[Store, dict[Stimulus, str]]:
    """Begin or continue the study; returns its database and {stimulus: file name}. Missing files are written.

    Raises UserError where an earlier stage has not run, or where the study was begun with other parameters or other audio.
    """
    shards = ShardSet(layout.stage("shards"), params.split)
    systems = study_audio.systems_of(layout, params.systems)
    drawn = np.random.default_rng(params.seed).permutation(len(shards.clips))[: params.clips]
    clips = [shards.clips[i].clip_id for i in sorted(drawn)]
    stimuli = [s for task, names in systems.items() for s in stimuli_of(task, names, clips)]
    if params.headphones_right:
        stimuli += headphone_stimuli()
    dealt = {
        name: getattr(params, name) for name in ("split", "items", "practice", "checks", "seed", "seconds", "loudness")
    }
    dealt |= {"systems": systems, "clips": clips, "headphones": bool(params.headphones_right)}
    store = Store(layout.stage("listen") / "study.db")
    secret = store.begin(dealt | {"sounds": study_audio.study_key(layout, params.split, systems["coherence"], clips)})
    files = {s: file_name(secret, s) for s in stimuli}
    folder = layout.stage("listen") / "media"
    if not all((folder / name).is_file() for name in files.values()):
        make_files(layout, params, shards, systems["coherence"], clips, stimuli, secret)
    store.offer({file: s for s, file in files.items()})
    return store, files


def make_files(
    layout: Layout, params: Params, shards: ShardSet, systems: list[str], clips: list[str], stimuli: list[Stimulus], secret: str
) -> None:  # fmt: skip
    """Write the missing files of all stimuli, with all music at one loudness."""
    frames = {c.clip_id: excerpt_frames(c.frames, params.seconds) for c in shards.clips}
    excerpts = {}
    for system in progress(systems, "listen: audio", unit="system"):
        found = study_audio.system_audio(layout, shards, system, clips, params.seed)
        excerpts |= {(system, clip): audio[: frames_to_samples(frames[clip])] for clip, audio in found.items()}
    gains, level = study_audio.loudness_gains(excerpts, params.loudness)
    if level < params.loudness - 0.05:
        say(
            "listen",
            f"all music is at {level:.1f} LUFS: at {params.loudness:g} the loudest moments of one excerpt would clip",
        )
    music = lambda system, clip: excerpts[system, clip] * np.float32(gains[system, clip])
    folder = layout.stage("listen") / "media"
    folder.mkdir(parents=True, exist_ok=True)
    for stray in folder.glob(".*"):  # left by a killed process
        stray.unlink()
    write_media(folder, secret, [s for s in stimuli if s.task == "headphones"], music)
    for clip in progress(clips, "listen: files", unit="clip"):
        mine = [s for s in stimuli if s.task != "headphones" and s.clip == clip]
        with local_file(layout.stage("clips") / f"{clip}.mp4") as video:
            write_media(folder, secret, mine, music, video, frames[clip])


def application(layout: Layout, params: Params):
    """The study as a WSGI application; see `d2m_model.listen.web`."""
    from d2m_model.listen.web import create_app

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
