"""A dataset builder's first hour: three videos, `sources new`, a correction by hand, the stages with presets/own.yaml, torch."""

import importlib
import re
import runpy
import shutil

import pytest

from dataset_tools.demo.render.compilation import CompilationClip, CompilationVideo, render_compilation
from dataset_tools.lib.core.layout import DATA_STAGES, PROJECT, Layout
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.lib.core.schema import Song
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.sources import __main__ as sources

SONGS = {
    "a": Song(song_id="a", genre="pop", title="Tune A", tempo=105.0), "b": Song(song_id="b", genre="house", title="Tune B", tempo=124.0),
    "c": Song(song_id="c", genre="hiphop", title="Tune C", tempo=90.0),
}  # fmt: skip
SCENES = {  # video -> (song, second of the song, start, end): the first two have 4 s of one recording in common
    "party": [("a", 10.0, 0.0, 4.5)], "wedding": [("a", 10.5, 0.0, 4.5)], "best of": [("b", 5.0, 0.0, 4.0), ("c", 5.0, 5.0, 9.0)],
}  # fmt: skip


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Three films of rendered dancers; in the last a silent title stands between two dances."""
    folder = tmp_path_factory.mktemp("films")
    for number, (name, scenes) in enumerate(SCENES.items()):
        video = CompilationVideo(video_id=f"v{number}", url="", panel_width=270, panels="blur")
        clips = [
            CompilationClip(clip_id=f"v{number}_{k}", video_id=video.video_id, song_id=song, start=start, end=end,
                            dancers=1, song_start=at)
            for k, (song, at, start, end) in enumerate(scenes)
        ]  # fmt: skip
        render_compilation(video, clips, SONGS, folder, seed=1)  # which makes the songs, too
        (folder / "media" / f"v{number}.mp4").rename(folder / f"{name}.mp4")
    return [folder / f"{name}.mp4" for name in SCENES]


def run(word, root, *args):
    return importlib.import_module(f"dataset_tools.{word}.__main__").main([*args, "--root", str(root)])


def test_from_three_videos_to_batches_of_torch(tmp_path, films, monkeypatch, capfd):
    layout = Layout(root=tmp_path, corpus="own")
    assert sources.main(["new", "own", *map(str, films), "--cut", "silence", "--root", str(tmp_path)]) == 0
    made = load_manifest(layout.manifest)
    assert [(clip.clip_id, clip.song_id) for clip in made.clips] == [
        ("best_of_01", "song_002"), ("best_of_02", "song_003"), ("party_01", "song_001"), ("wedding_01", "song_001"),
    ]  # fmt: skip
    next_command = re.search(r"next: .* then python -m dataset_tools\.(\w+) (.*)$", capfd.readouterr().out)

    clips, good = layout.manifest / "clips.csv", (layout.manifest / "clips.csv").read_text()
    clips.write_text(re.sub(r"(party_01,party,song_001,0\.0),[\d.]+,", r"\1,14.5,", good))
    assert run(next_command[1], tmp_path, *next_command[2].split()) == 1
    (error,) = [line for line in capfd.readouterr().out.splitlines() if "error: " in line]
    assert "clip party_01: ends at 14.5 s, but its video" in error
    clips.write_text(good)
    songs = layout.manifest / "songs.csv"
    songs.write_text(songs.read_text().replace("song_001,", "song_001,pop").replace("song_002,", "song_002,house"))
    assert run("sources", tmp_path, "--corpus", "own", "--check") == 0

    shutil.copy(PROJECT / "presets" / "own.yaml", tmp_path / "params.yaml")
    for word in DATA_STAGES:
        assert run(word, tmp_path) == 0, word
    found = [clip for split in ("train", "test") for clip in ShardSet(layout.stage("shards"), split).clips]
    assert sorted(clip.clip_id for clip in found) == sorted(clip.clip_id for clip in made.clips)
    assert {clip.song: clip.genre for clip in found} == {"song_001": "pop", "song_002": "house", "song_003": ""}
    assert run("sources", tmp_path, "--deep") == 0 and run("sources", tmp_path, "--card") == 0

    lines, _ = re.findall(r"```python\n(.*?)```", (PROJECT / "docs/shards.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "loop.py").write_text(lines.replace("data/demo/", "data/own/"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    shown = runpy.run_path("loop.py")
    train = ShardSet(layout.stage("shards"), "train").clips
    batch, windows = shown["batch"], sum(len(range(0, clip.frames - 59, 30)) for clip in train)
    assert batch.pose.shape[:2] == (windows, 60) and batch.pose.shape[3:] == (17, 3)
    assert batch.audio.shape == (windows, 44100) and batch.audio.abs().amax(dim=1).min() > 0.05
    assert (
        batch.i3d.shape == (windows, 2048) and (batch.pose[:, :, 0, :, 2] > 0).float().mean() > 0.5
    )  # the primary dancer
