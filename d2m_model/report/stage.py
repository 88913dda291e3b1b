"""The stage `report`: all results on one page."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import jinja2
import numpy as np
import pandas as pd

from d2m_model.listen import study_audio as study
from d2m_model.metrics import notes
from d2m_model.metrics.controls import beat_controls
from d2m_model.metrics.inputs import read_audio, read_rhythm, true_beats
from d2m_model.metrics.overview import kind_of
from d2m_model.metrics.p4_onsets import onset_times
from d2m_model.metrics.systems import RECONSTRUCTED, named_systems
from d2m_model.metrics.table_forms import heading
from d2m_model.report import breakdown, picture, plots
from d2m_model.report.crops import crop_cards
from d2m_model.report.params import Params
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.packs import local_file
from dataset_tools.lib.core.params import read_names
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import SAMPLE_RATE, frames_to_samples
from dataset_tools.lib.shard_io.shard_set import ShardSet

OWN = "own music"
MOST_MODELS = 4
"""Most models in the figures of genres and tempi; the tables have all."""


def mp3(audio: np.ndarray) -> str:
    """Mono audio (S,) within -1..1 at 22 050 Hz as base64 MP3, which all browsers play."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(audio, -1, 1), SAMPLE_RATE, format="MP3")
    return base64.b64encode(buffer.getvalue()).decode()


def folders_of(layout: Layout, systems: dict) -> dict[str, Path]:
    """{system: folder of its music} for the models, baselines and systems of others among the scored systems, in their order."""
    named = named_systems(layout)
    return {name: named[name].folder for name in systems if name in named and named[name].folder.is_dir()}


def curve_files(layout: Layout) -> dict[str, Path]:
    """{title: curves.csv} for each training that params.yaml names; those of former variants are left out."""
    levels, variants, baselines = (read_names(layout.params, key) for key in ("levels", "variants", "systems"))
    wanted = ["vqvae", *(f"synthesizer/{level}" for level in levels)]
    wanted += ["rhythm", *(f"prior/{level}" for level in levels)]
    wanted += [f"d2m_gan/{level}-{variant}" for level in levels for variant in variants]
    wanted += [f"baselines/{name}" for name in baselines]
    runs = layout.stage("vqvae").parent
    return {name: runs / name / "curves.csv" for name in wanted if (runs / name / "curves.csv").is_file()}


def clip_card(
    clip, truth: np.ndarray, models: dict[str, np.ndarray], baselines: dict[str, np.ndarray], beats, scores: pd.DataFrame,
    media: dict | None, order: Sequence[str] = (), others: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> dict:  # fmt: skip
    """The template's data for one scored clip.

    truth, models, baselines, others: audio, mono (S,) at 22 050 Hz; others are from `evaluate.others`. beats: in seconds, or None.
    scores: from `breakdown.differences`. media: {video: the clip's file, controls: {name: audio}} for a card with a player, else
    None. order: systems, best first; the player has them in this order, then the clip's own music and the controls.
    """
    seconds, made = len(truth) / SAMPLE_RATE, {**models, **baselines, **others}
    rows = {OWN: onset_times(truth)} | {name: onset_times(a) for name, a in made.items()}
    own = scores[scores.clip_id == clip.clip_id].set_index("system")
    parts = [
        f"{name}: F {own.own[name]:.2f} own, {own.other[name]:.2f} other dances" for name in made if name in own.index
    ]
    card = {
        "id": clip.clip_id,
        "genre": clip.genre,
        "song": clip.song,
        "seconds": f"{seconds:.1f}",
        "timeline": plots.beat_timeline(rows, beats, seconds, set(rows)),
        "text": " · ".join(parts),
        "tracks": [],
    }
    if media:
        with local_file(media["video"]) as video:
            card["video"] = base64.b64encode(video.read_bytes()).decode()
        shown = sorted(made, key=lambda n: order.index(n) if n in order else len(order))
        kinds = dict.fromkeys(models, "model") | dict.fromkeys(baselines, "baseline") | dict.fromkeys(others, "other")
        tracks = [(n, made[n], kinds[n]) for n in shown]
        tracks += [(OWN, truth, "own"), *((n, audio, "control") for n, audio in media["controls"].items())]
        card["tracks"] = [{"name": n, "audio": mp3(audio), "kind": kind} for n, audio, kind in tracks]
    return card


def control_audio(layout: Layout, test: ShardSet, clips: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """{control: {clip: audio}} of the controls to compare the models with by ear: reconstructions, another song, and the controls
    that know the dance's beats."""
    names = [n for n in study.systems_of(layout)["coherence"] if n == study.MISMATCHED or n.startswith(RECONSTRUCTED)]
    if len({c.song for c in test.clips}) == 1:
        names.remove(study.MISMATCHED)
    audio = {name: study.system_audio(layout, test, name, clips, seed=0) for name in names}
    samples = {c.clip_id: frames_to_samples(c.frames) for c in test.clips if c.clip_id in clips}
    rhythm = read_rhythm(layout.stage("report").parent / "rhythm/beats", list(samples))
    return audio | beat_controls(
        samples, ShardSet(layout.stage("shards"), "train"), layout.stage("sources") / "truth", rhythm
    )


def opening(systems: dict) -> dict | None:
    """The page's first picture, in a wide and a narrow version, with its points; None if no system has both scores."""
    points, distance = picture.points_of(systems), picture.distance_of(systems)
    if not points:
        return None
    wide = picture.draw(points, distance, width=1140, height=560)
    narrow = picture.draw(points, distance, width=360, height=420, size=12, numbered=True)
    return {"points": points, "distance": distance.upper(), "wide": wide, "narrow": narrow}


def table_views(folder: Path, kinds: dict[str, str]) -> list[dict]:
    """Views of the tables of the stage `tables`; rows of controls and models are marked for the style sheet. kinds: system -> kind."""
    cells = pd.read_csv(folder / "cells.csv", dtype=str)
    views = []
    extra = [name for name in ("ranks", "differences", "seeds", "codes", "rhythm") if (folder / f"{name}.md").is_file()]
    for name in ("systems", *extra, *[f"table{n}" for n in range(1, 7)]):
        title, _, rest = (folder / f"{name}.md").read_text().partition("\n")
        frame = pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        own = cells[cells.table == name.removeprefix("table")]
        systems = dict(zip(own.method, own.system))  # a row of the paper has a name of its own
        marks = [breakdown.KINDS.get(kinds.get(systems.get(row[0], row[0]), ""), "") for row in frame.values.tolist()]
        rows = [{"cells": row, "kind": mark} for row, mark in zip(frame.values.tolist(), marks)]
        note = rest[rest.rindex("\n|") + 1 :].partition("\n\n")[2].strip()  # what is under the table's last part
        header = [heading(column) for column in frame.columns]
        views.append({"title": title.lstrip("# "), "header": header, "rows": rows, "note": note.replace("`", "")})
    return views


def breakdown_views(frame: pd.DataFrame, systems: dict, tempi: dict[str, str]) -> tuple[list[dict], list[dict]]:
    """(tables, plots) of P4 differences per genre and, where tempi {song: group} are known, per tempo."""
    kinds = {name: kind_of(s) for name, s in systems.items()}
    framing = [n for n in (study.TRUTH, study.MISMATCHED) if n in kinds]
    models = sorted((n for n, kind in kinds.items() if kind == "model"), key=lambda n: not n.endswith("-full"))
    names = models[:MOST_MODELS] + framing
    tables, pictures = [], []
    for title, groups in (("Per genre", frame.genre), ("Per tempo of the song", frame.song.map(tempi))):
        if groups.notna().any():
            tables.append(breakdown.by_group(frame, groups, title, kinds))
            pictures.append(breakdown.group_plot(frame, groups, names, title))
    return tables, pictures


def build_page(layout: Layout, params: Params) -> str:
    """The page as one HTML string. UserError where an earlier stage has not run."""
    metrics_path = layout.stage("evaluate") / "metrics.json"
    if not metrics_path.exists():
        raise UserError(
            f"{metrics_path}: not there; run `dvc repro` or `python -m d2m_model.evaluate --corpus {layout.corpus}`"
        )
    metrics = json.loads(metrics_path.read_text())
    systems, part = metrics["systems"], metrics["split"]
    text = {"clip_id": str, "song": str, "genre": str}
    per_clip = pd.read_csv(layout.stage("evaluate") / "per_clip.csv", dtype=text)
    test = ShardSet(layout.stage("shards"), part)
    ids = [c.clip_id for c in test.clips]
    folders = folders_of(layout, systems)
    by_kind = [[n for n in folders if kind_of(systems[n]) == kind] for kind in ("model", "baseline", "other")]
    beats = true_beats(layout.stage("sources") / "truth", ids)
    first = opening(systems)
    order = [p["name"] for p in first["points"]] if first else []
    names, baselines, others = (
        sorted(part, key=lambda n: order.index(n) if n in order else len(order)) for part in by_kind
    )
    kind = "beats" if beats else "onsets"
    frame = breakdown.differences(per_clip, kind)
    shown = breakdown.shown_clips(frame, names, ids, params.max_clips)
    controls = control_audio(layout, test, [c for c in ids if c in shown])
    cards = []
    for clip in progress(test.clips, "report", unit="clip"):
        truth = test.read(clip.clip_id, 0, clip.frames).audio
        made, based, external = (
            {n: read_audio(folders[n] / f"{clip.clip_id}.wav") for n in p} for p in (names, baselines, others)
        )
        media = None
        if clip.clip_id in shown:
            excerpts = {name: of[clip.clip_id] for name, of in controls.items() if clip.clip_id in of}
            media = {"video": layout.stage("clips") / f"{clip.clip_id}.mp4", "controls": excerpts}
        cards.append(clip_card(clip, truth, made, based, beats.get(clip.clip_id), frame, media, order, external))
    if names:  # the best model's best clips first
        found = frame[frame.system == names[0]].set_index("clip_id").difference
        cards.sort(key=lambda card: (-found.get(card["id"], -np.inf), card["id"]))
    curves = [figure for title, path in curve_files(layout).items() for figure in plots.loss_curves(path, title)]
    split = pd.read_csv(layout.stage("split") / "split.csv", dtype=str)
    text = {"id": str, "video_id": str, "song_id": str, "genre": str}
    clips = pd.read_csv(layout.stage("clips") / "rows.csv", dtype=text).merge(
        split[["clip_id", "split"]], left_on="id", right_on="clip_id"
    )
    spans, songs = (pd.read_csv(layout.stage("sources") / f"{name}.csv", dtype=str) for name in ("clips", "songs"))
    tables, pictures = breakdown_views(frame, systems, breakdown.tempo_groups(songs))
    counts = ", ".join(f"{n} {name} clips" for name, n in split.split.value_counts().items())
    shared = set(split[split.split == "train"].song_id) & set(split[split.split == part].song_id)
    unheard = (
        "of songs never heard in training" if not shared else f"{len(shared)} of their songs were heard in training"
    )
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    return templates.get_template("report.html").render(
        corpus=layout.corpus,
        split=part,
        lead=f"{len(clips)} clips, {clips.song_id.nunique()} songs; {len(test.clips)} {part} clips{', ' if shared else ' '}{unheard}.",
        opening=first,
        seeds=notes.seed_note(systems),
        reference_kind=kind,
        beats_note="; the vertical lines are the dance's true beats" if beats else "",
        breakdown_tables=tables,
        breakdown_plots=pictures,
        extremes=breakdown.extremes(frame, names),
        clips=cards,
        rows=(OWN, *names, *baselines, *others),
        others=others,
        curves=curves,
        corpus_plots=plots.corpus_plots(clips),
        crops=crop_cards(clips, spans, layout.stage("download")),
        split_text=f"{counts}; {len(shared)} songs are in both.",
        tables=table_views(layout.stage("tables"), {name: kind_of(s) for name, s in systems.items()}),
    )


def summary(layout: Layout, systems: dict) -> str:
    """The text printed at the end of a run: where the report is, the main scores, and what to do next."""
    points, distance = picture.points_of(systems), picture.distance_of(systems).upper()
    lines = [f"Report: {layout.stage('report') / 'index.html'}", ""]
    lines += [f"{'system, best first':26s}{'P4 own − other dances (±70 ms)':34s}{distance}"]
    lines += [f"{p['name']:26s}{p['y_text']:34s}{p['x_text']}" for p in points]
    lines += [f"{name:26s}no P4 or no {distance}" for name in systems if name not in {p["name"] for p in points}]
    if seeds := notes.seed_note(systems):
        lines += ["", seeds]
    lines += ["", "Your own video: . .venv/bin/activate && python -m d2m_model.generate --video IN.mp4 --out OUT.mp4"]
    return "\n".join(lines)
