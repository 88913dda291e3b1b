"""The stage `rhythm`: train on a corpus, predict the beats of all its dances, and score them against the music."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from d2m_model.metrics.inputs import read_truth
from d2m_model.metrics.p4_onsets import beat_f_measure
from d2m_model.rhythm.beats_file import Beats, write_beats
from d2m_model.rhythm.body import read_motion, read_pose
from d2m_model.rhythm.data import RhythmExample
from d2m_model.rhythm.model import RhythmModel, save_rhythm
from d2m_model.rhythm.music_beats import Tracker, beats_with_strengths, music_beats
from d2m_model.rhythm.params import Params
from d2m_model.rhythm.rows import RhythmRow
from d2m_model.rhythm.scoring import likeliest_style, scores
from d2m_model.rhythm.training import train
from d2m_model.training.autoencoding import write_metrics
from d2m_model.training.loop import Run
from dataset_tools.lib.core.atomic import prepare_folder
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.schema import write_records
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.shard_io.shard_format import NO_POSE, ClipEntry
from dataset_tools.lib.shard_io.shard_set import ShardSet


def open_splits(shards: Path, stream: str) -> dict[str, ShardSet]:
    """All splits that have shards. Raises UserError where the train split has none, or where the shards lack the stream."""
    found = {
        split: ShardSet(shards, split) for split in SPLITS if split == "train" or any(shards.glob(f"{split}-*.h5"))
    }
    info = found["train"].info
    if stream == "motion" and not info.motion_rate:
        raise UserError(f"{shards}: rhythm.stream is 'motion', but these shards hold keypoints only; set it to pose")
    if stream == "pose" and NO_POSE in info.pose_weights:
        raise UserError(f"{shards}: rhythm.stream is 'pose', but these shards hold SMPL motion only; set it to motion")
    return found


def true_beats(truth: Path, clip: ClipEntry, audio: np.ndarray) -> Beats:
    """The true beats of a clip, with their strengths in its audio. UserError where its file lacks them."""
    path = truth / f"{clip.clip_id}.npz"
    try:
        times = read_truth(path, bars=True)
    except UserError as err:
        raise UserError(f"{err}; or set rhythm.beats to librosa or beat-this") from None
    seconds = len(audio) / SAMPLE_RATE
    beats, downbeats = (np.unique(t[(t >= 0) & (t <= seconds)]) for t in (times.beats, times.downbeats))
    return beats_with_strengths(beats, downbeats, audio)


def beats_of_music(splits: Mapping[str, ShardSet], truth: Path | None, tracker: Tracker | None) -> dict[str, Beats]:
    """The beats of each clip's own music: true ones from the folder `truth`, or tracked by `tracker`."""
    found = {}
    for shards in splits.values():
        for clip in progress(shards.clips, "rhythm of the music", unit="clip"):
            audio = shards.read(clip.clip_id).audio
            if truth:
                found[clip.clip_id] = true_beats(truth, clip, audio)
            else:
                assert tracker is not None
                found[clip.clip_id] = music_beats(audio, tracker)
    return found


def training_examples(shards: ShardSet, stream: str, music: Mapping[str, Beats]) -> list[RhythmExample]:
    """The dances of a split with the beats of their music; those with fewer than two frames or two beats are left out."""
    examples = []
    for clip in shards.clips:
        window, beats = shards.read(clip.clip_id), music[clip.clip_id]
        if len(window.pose) > 1 and len(beats.beats) > 1:
            dance = read_motion(window.motion) if stream == "motion" else read_pose(window.pose[:, 0])
            examples.append(RhythmExample(clip_id=clip.clip_id, dance=dance, beats=beats, genre=clip.genre))
    return examples


def predict_beats(model: RhythmModel, splits: Mapping[str, ShardSet]) -> dict[str, Beats]:
    """The beats that the model predicts from the motion of each clip."""
    found = {}
    for shards in splits.values():
        for clip in progress(shards.clips, "rhythm of the dances", unit="clip"):
            window = shards.read(clip.clip_id)
            found[clip.clip_id] = (
                model.beats_of_motion(window.motion) if model.stream == "motion" else model.beats_of(window.pose[:, 0])
            )
    return found


def train_rhythm(
    shards: Path,
    params: Params,
    out: Path,
    *,
    source: str,
    truth: Path | None,
    tracker: Tracker | None,
    run: Run | None = None,
) -> dict:
    """Train on the shards' train split and write the outputs to `out`; returns the content of metrics.json.

    source: name of the beats' source, for metrics.json. truth: folder of true beats; without it `tracker` finds them.
    Raises UserError where there is nothing to train on, and as `train` does.
    """
    prepare_folder(out, "rows.csv")
    splits = open_splits(shards, params.stream)
    music = beats_of_music(splits, truth, tracker)
    examples = training_examples(splits["train"], params.stream, music)
    if not examples:
        raise UserError(
            f"{shards}: no train clip has beats to learn ({source}); rhythm.beats names another way to find them"
        )
    net, curves = train(examples, params, run or Run(stage="rhythm"))
    model = RhythmModel(net)
    save_rhythm(out / "model.pt", net)
    curves.write(out / "curves.csv")
    read = predict_beats(model, splits)
    for name, beats in (("beats", read), ("music", music)):
        shutil.rmtree(out / name, ignore_errors=True)
        for clip_id, found in beats.items():
            write_beats(out / name / f"{clip_id}.json", found)
    metrics = {
        "beats": source, "stream": params.stream, "steps": params.steps, "train_clips": len(examples),
        "parameters": sum(p.numel() for p in net.parameters()), "genres": list(net.genres),
    } | {split: scores(read, music, s.clips, params.draws) | {"clips": len(s.clips)} for split, s in splits.items() if split != "train"}  # fmt: skip
    write_metrics(out / "metrics.json", metrics)
    rows = [_row(clip, read[clip.clip_id], music[clip.clip_id]) for s in splits.values() for clip in s.clips]
    write_records(out / "rows.csv", rows, RhythmRow)
    if run:
        run.finish()
    return metrics


def _row(clip: ClipEntry, read: Beats, music: Beats) -> RhythmRow:
    score = lambda name: (
        None if math.isnan(f := beat_f_measure(getattr(music, name), getattr(read, name))) else round(f, 4)
    )
    tempo = lambda beats: beats.tempo and round(beats.tempo, 2)
    return RhythmRow(
        id=clip.clip_id, status="ok", split=clip.split, beats=len(read.beats), downbeats=len(read.downbeats), tempo=tempo(read),
        music_tempo=tempo(music), f_beats=score("beats"), f_downbeats=score("downbeats"), style=likeliest_style(read),
    )  # fmt: skip
