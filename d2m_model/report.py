"""Everything that came out, on one self-contained page: players, beat time lines (Fig. 5), losses (Fig. 6), tables.

    python -m d2m_model.report --corpus demo
"""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from d2m_model.metrics.inputs import read_sound, true_beats
from d2m_model.metrics.onset_alignment import onset_times
from d2m_model.page import plots
from dataset_tools.base.atomic import write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.shard_format import ShardSet
from dataset_tools.base.timebase import SAMPLE_RATE
from dataset_tools.base.workers import progress


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `report` of params.yaml."""

    max_clips: int = 24
    """Test clips with a player; the page embeds their pictures and sounds."""
    max_megabytes: float = 50.0
    """The page is refused when it grows past this: lower max_clips."""

    def __post_init__(self):
        require(self.max_clips >= 1, f"max_clips must be at least 1, found {self.max_clips}")


def mp3(audio: np.ndarray) -> str:
    """Mono sound (S,) in -1..1 at 22 050 Hz as base64 MP3, which every browser plays."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(audio, -1, 1), SAMPLE_RATE, format="MP3")
    return base64.b64encode(buffer.getvalue()).decode()


def systems_of(layout: Layout) -> list[str]:
    """Names of the generated systems, high before low, the full models first."""
    folder = layout.stage("generate")
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return sorted(names, key=lambda n: (not n.endswith("-full"), not n.startswith("high"), n))


def clip_card(clip, truth: np.ndarray, sounds: dict[str, np.ndarray], beats, video: Path, scores: pd.DataFrame) -> dict:
    """What the template shows of one test clip. truth and sounds are mono (S,) at 22 050 Hz; beats seconds or None."""
    seconds = len(truth) / SAMPLE_RATE
    rows = {"own music": onset_times(truth)} | {name: onset_times(a) for name, a in sounds.items()}
    kind = "beats" if beats is not None else "onsets"
    own = scores[scores.clip_id == clip.clip_id].set_index("system") if len(scores) else scores
    parts = [
        f"{name}: F {own.loc[name, f'P4_{kind}_own']:.2f} own, {own.loc[name, f'P4_{kind}_other']:.2f} other dances"
        for name in sounds
        if f"P4_{kind}_own" in own and name in own.index
    ]
    tracks = [{"name": "own music", "sound": mp3(truth)}] + [{"name": n, "sound": mp3(a)} for n, a in sounds.items()]
    return {
        "id": clip.clip_id,
        "genre": clip.genre,
        "song": clip.song,
        "seconds": f"{seconds:.1f}",
        "video": base64.b64encode(video.read_bytes()).decode(),
        "tracks": tracks,
        "timeline": plots.beat_timeline(rows, beats, seconds),
        "text": " · ".join(parts),
    }


def score_cards(systems: dict, kind: str) -> list[dict]:
    """The P4 difference of each model and of the controls that frame it."""
    cards = []
    for name, summary in systems.items():
        p4 = summary.get("P4", {}).get(f"{kind}_70ms")
        if p4 and p4["difference"] is not None:
            low, high = p4["difference_low"], p4["difference_high"]
            interval = f"95 % {low:+.3f} to {high:+.3f}" if low is not None else "one clip: no interval"
            cards.append({"name": name, "value": f"{p4['difference']:+.3f}", "text": f"{interval} · own {p4['own']:.3f}"})
    return cards


def table_views(folder: Path, systems: dict) -> list[dict]:
    """Tables as the `tables` stage wrote them; controls and models marked for the style sheet."""
    views = []
    for name in ("systems", *[f"table{n}" for n in range(1, 7)]):
        title, _, rest = (folder / f"{name}.md").read_text().partition("\n")
        frame = pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        rows = []
        for _, row in frame.iterrows():
            kind = {"control": "control", "model": "chosen"}.get(row.get("kind", ""), "")
            rows.append({"cells": list(row), "kind": kind})
        note = rest.strip().rsplit("\n\n", 1)[-1]
        views.append({"title": title.lstrip("# "), "header": list(frame.columns), "rows": rows, "note": note.replace("`", "")})
    return views


def build_page(layout: Layout, params: Params) -> str:
    """The page as one HTML string. UserError where an earlier stage has not run."""
    metrics_path = layout.stage("evaluate") / "metrics.json"
    if not metrics_path.exists():
        raise UserError(f"{metrics_path}: not there; run `dvc repro` or `python -m d2m_model.evaluate --corpus {layout.corpus}`")
    metrics = json.loads(metrics_path.read_text())
    per_clip = pd.read_csv(layout.stage("evaluate") / "per_clip.csv", dtype={"clip_id": str, "song": str})
    test = ShardSet(layout.stage("shards"), "test")
    names = systems_of(layout)
    beats = true_beats(layout.stage("sources") / "truth", [c.clip_id for c in test.clips])
    kind = "beats" if beats else "onsets"
    cards = []
    for clip in progress(test.clips[: params.max_clips], "report"):
        truth = test.read(clip.clip_id, 0, clip.frames).audio
        sounds = {n: read_sound(layout.stage("generate") / n / f"{clip.clip_id}.wav") for n in names}
        video = layout.stage("clips") / f"{clip.clip_id}.mp4"
        cards.append(clip_card(clip, truth, sounds, beats.get(clip.clip_id), video, per_clip))
    curves = [
        plots.loss_curves(path, f"{path.parent.relative_to(layout.stage('vqvae').parent)}")
        for path in sorted(layout.stage("vqvae").parent.glob("**/curves.csv"))
    ]
    split = pd.read_csv(layout.stage("split") / "split.csv", dtype=str)
    text = {"id": str, "video_id": str, "song_id": str, "genre": str}
    clips = pd.read_csv(layout.stage("clips") / "rows.csv", dtype=text).merge(split[["clip_id", "split"]], left_on="id", right_on="clip_id")
    counts = ", ".join(f"{n} {name} clips" for name, n in split.split.value_counts().items())
    shared = set(split[split.split == "train"].song_id) & set(split[split.split == "test"].song_id)
    template = (Path(__file__).with_name("page") / "report.html").read_text()
    return jinja2.Environment(autoescape=True).from_string(template).render(
        corpus=layout.corpus,
        lead=f"{len(clips)} clips, {clips.song_id.nunique()} songs; {len(test.clips)} test clips of songs never heard in training.",
        scores=score_cards(metrics["systems"], kind),
        reference_kind="beats" if beats else "onsets",
        beats_note="; the vertical lines are the dance's true beats" if beats else "",
        clips=cards,
        curves=curves,
        corpus_plots=plots.corpus_plots(clips),
        split_text=f"{counts}; {len(shared)} songs are in both.",
        tables=table_views(layout.stage("tables"), metrics["systems"]),
    )


def summary(layout: Layout, systems: dict) -> str:
    """What a person wants to know at the end of a run: where the report is, the scores, what to do next."""
    kind = "beats" if any("beats_70ms" in s.get("P4", {}) for s in systems.values()) else "onsets"
    lines = [f"Report: {layout.stage('report') / 'index.html'}", ""]
    lines += [f"{'system':26s}{'P1 cover/hit':>14s}   P4 own − other dances (±70 ms)"]
    for name, s in systems.items():
        p1, p4 = s.get("P1", {}), s.get("P4", {}).get(f"{kind}_70ms", {})
        cover, hit = p1.get("coverage_micro"), p1.get("hit_micro")
        first = f"{cover:.0f} / {hit:.0f}" if cover is not None and hit is not None else "–"
        diff = p4.get("difference")
        second = "–" if diff is None else f"{diff:+.3f}"
        if diff is not None and p4.get("difference_low") is not None:
            second += f"  [{p4['difference_low']:+.3f}, {p4['difference_high']:+.3f}]"
        lines.append(f"{name:26s}{first:>14s}   {second}")
    lines += ["", "Your own video: python -m d2m_model.generate --video IN.mp4 --out OUT.mp4"]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    args = stage_parser("d2m_model.report", __doc__).parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, "report", Params)
    page = build_page(layout, params)
    size = len(page.encode()) / 1e6
    if size > params.max_megabytes:
        raise UserError(f"report: the page would be {size:.0f} MB, over max_megabytes {params.max_megabytes}; lower max_clips")
    out = layout.stage("report") / "index.html"
    write_text(out, page)
    say("report", f"{size:.1f} MB, opens offline")
    print(summary(layout, json.loads((layout.stage("evaluate") / "metrics.json").read_text())["systems"]), flush=True)
    return 0


if __name__ == "__main__":
    run(main)
