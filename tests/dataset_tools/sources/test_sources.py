"""A manifest is checked as a whole, URLs stay relative, and bad input is one clear line."""

import subprocess
import sys
from pathlib import Path

import pytest

from dataset_tools.lib.core import schema
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import find_missing_values, load_manifest
from dataset_tools.sources import __main__ as sources_command
from dataset_tools.sources import stage as sources
from dataset_tools.sources.params import Params
from tests.helpers.builders import build_manifest, tiktok_as_published

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def layout(tmp_path):
    """A corpus of 8 clips and 2 videos that lie beside its manifest."""
    folder = build_manifest(tmp_path, "tiny")
    (folder / "media").mkdir()
    for name in ("video_0", "video_1"):
        (folder / "media" / f"{name}.mp4").write_bytes(b"x")
    (tmp_path / "manifests" / "x.mp4").write_bytes(b"secret")  # what a hostile manifest would like to reach
    (folder / "media" / "link.mp4").symlink_to(tmp_path / "manifests" / "x.mp4")
    (folder / "out").symlink_to(tmp_path / "manifests")
    (tmp_path / "params.yaml").write_text("sources: {}\n")
    return Layout(root=tmp_path, corpus="tiny")


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_records_come_out_with_urls_that_resolve(layout):
    made = sources.sources(layout, Params())
    target = layout.stage("sources")
    assert (len(made.videos), len(made.clips), len(made.songs)) == (2, 8, 4)
    again = load_manifest(target)
    assert again.clips == tuple(sorted(made.clips, key=lambda c: c.clip_id)) and again.songs == made.songs
    for video in again.videos:
        assert video.url == f"../../../manifests/tiny/media/{video.video_id}.mp4"
        assert (target / video.url).is_file()
    for path in target.iterdir():
        assert str(layout.root) not in path.read_text()


def test_a_file_that_is_not_there_is_said_and_costs_its_own_video_only(layout, capsys):
    rewrite(layout.manifest / "videos.csv", "media/video_0.mp4", "media/none.mp4")
    assert sources_command.main(["--corpus", "tiny", "--root", str(layout.root)]) == 0
    assert "still missing: the files that the urls of 1 of 2 videos name (video_0)" in capsys.readouterr().out
    assert load_manifest(layout.stage("sources")).videos[0].url == "../../../manifests/tiny/media/none.mp4"
    assert sources_command.main(["--corpus", "tiny", "--root", str(layout.root), "--check"]) == 1
    assert "video video_0: url 'media/none.mp4': no such file; the path counts from" in capsys.readouterr().out


def test_web_urls_are_left_alone(layout):
    rewrite(layout.manifest / "videos.csv", "media/video_0.mp4", "https://example.org/watch?v=1")
    made = sources.sources(layout, Params())
    assert made.videos[0].url == "https://example.org/watch?v=1"


def test_limits_keep_the_first_and_the_songs_they_use(layout):
    made = sources.sources(layout, Params(videos=1, clips_per_video=1))
    assert [v.video_id for v in made.videos] == ["video_0"]
    assert [c.clip_id for c in made.clips] == ["clip_000"]
    assert [s.song_id for s in made.songs] == ["song_000"]


@pytest.mark.parametrize(
    "file, old, new, words",
    [
        ("clips.csv", "song_id", "tune", "clips.csv: column 'song_id' is missing"),
        ("clips.csv", "clip_001", "clip_000", "clip_id 'clip_000' occurs twice"),
        ("clips.csv", "video_1", "video_9", "clip clip_001: video_id 'video_9' is not in"),
        ("clips.csv", "song_002", "song_009", "clip clip_002: song_id 'song_009' is not in"),
        ("clips.csv", "0.0,4.0", "0.0,", "clip clip_000: end is empty; give both times or neither"),
        ("clips.csv", "start,end", "start,finish", "clips.csv: column 'end' is missing; found clip_id, video_id"),
        ("clips.csv", "start,end", "begin,end", "clips.csv: column 'start' is missing"),
        ("clips.csv", "0.0,4.0", "4.0,0.5", "end must be after start 4.0 s, found 0.5"),
        ("clips.csv", "0.0,4.0", "soon,4.0", "start must be a finite number, found 'soon'"),
        ("clips.csv", "clip_000", "../escape", "it becomes a file name"),
        ("videos.csv", "media/video_0.mp4", "/etc/passwd", "must be http.s. or a path relative"),
        ("videos.csv", "media/video_0.mp4", "file:///etc/passwd", "must be http.s. or a path relative"),
        ("videos.csv", "media/video_0.mp4", "../x.mp4", "url '../x.mp4': leads out of .*manifests/tiny"),
        ("videos.csv", "media/video_0.mp4", "media/../../x.mp4", "leads out of"),
        (
            "videos.csv",
            "media/video_0.mp4",
            "media/link.mp4",
            "url 'media/link.mp4': leads out of .*a link is not enough",
        ),
        ("videos.csv", "media/video_0.mp4", "out/x.mp4", "url 'out/x.mp4': leads out of"),
        ("videos.csv", "media/video_0.mp4", "http:///x.mp4", "names no host"),
        ("videos.csv", "media/video_0.mp4", "media/\x1b[2Jx.mp4", "holds control characters"),
        ("clips.csv", "0.0,4.0", "0.0,inf", "row 2: end must be a finite number, found 'inf'"),
        ("clips.csv", "0.0,4.0", "nan,4.0", "row 2: start must be a finite number, found 'nan'"),
    ],
)
def test_a_broken_manifest_is_refused(layout, file, old, new, words):
    rewrite(layout.manifest / file, old, new)
    with pytest.raises(UserError, match=words) as caught:
        sources.sources(layout, Params())
    assert file in str(caught.value) and str(caught.value).isprintable()
    assert not layout.stage("sources").exists()


def test_empty_manifest_is_refused(layout):
    schema.write_records(layout.manifest / "clips.csv", [], schema.Clip)
    with pytest.raises(UserError, match="no clips; at least one row is needed"):
        sources.sources(layout, Params())


def test_rendering_needs_the_further_columns(layout):
    with pytest.raises(UserError, match="videos.csv: column 'panel_width' is missing.*parameters of another"):
        sources.sources(layout, Params(render=True))


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("videos.csv", "media/a.mp4", "https://x/a.mp4", "video a: url must be media/a.mp4"),
        ("videos.csv", "a,media/a.mp4,204,stripes\n", "a,media/a.mp4,204,stripes\nb,media/b.mp4,204,stripes\n", "video b: no clip"),
        ("videos.csv", ",204,", ",0,", "panel_width must be 1 to 640"), ("clips.csv", "0,2,20", ",,20", "start and end are needed"),
        ("clips.csv", "2,4,30", "1,4,30", "clips c0 and c1 overlap in a"), ("clips.csv", "2,4,30", "3599,3601,30", "has 3600 s at most, found end 3601"),
        ("clips.csv", "2,4,30", "2,4,-1", "song_start must be 0 s to 58 s"), ("clips.csv", "2,4,30", "2,4,1e300", "song_start must be"),
        ("songs.csv", "s,house", "s,polka", "song s: unknown genre 'polka'"), ("songs.csv", ",120", ",30", "song s: tempo must be 40 to 220"),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered_is_said_before(tmp_path, file, old, new, words):
    for name, text in (
        ("videos.csv", "video_id,url,panel_width,panels\na,media/a.mp4,204,stripes\n"), ("songs.csv", "song_id,genre,tempo\ns,house,120\n"),
        ("clips.csv", "clip_id,video_id,song_id,start,end,song_start\nc0,a,s,0,2,20\nc1,a,s,2,4,30\n"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    assert len(sources.collect(tmp_path, tmp_path, Params(render=True)).clips) == 2
    rewrite(tmp_path / file, old, new)
    with pytest.raises(UserError, match=words) as caught:
        sources.collect(tmp_path, tmp_path, Params(render=True))
    assert file in str(caught.value)


def test_other_problems_are_not_the_columns(tmp_path):
    with pytest.raises(UserError, match="videos.csv: file not found$"):
        sources.collect(tmp_path / "a.csv: column x", tmp_path, Params(render=True))


def test_unknown_corpus_is_one_line_and_not_zero(layout):
    done = subprocess.run(
        [sys.executable, "-m", "dataset_tools.sources", "--corpus", "nope", "--root", str(layout.root)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown corpus 'nope'") and done.stderr.count("\n") == 1
    assert "known here: tiny" in done.stderr and "name that one with --root" in done.stderr


@pytest.mark.parametrize("values", [{"workers": 0}, {"videos": -1}, {"clips_per_video": -1}])
def test_params_out_of_range(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Params(**values)


def test_tiktok_manifest_says_what_is_missing(tmp_path, capsys):
    folder = tiktok_as_published(tmp_path / "manifests" / "tiktok")
    (tmp_path / "params.yaml").write_text("sources: {}\n")
    assert sources_command.main(["--corpus", "tiktok", "--root", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "15 videos, 445 clips, 86 songs" in shown
    assert "url is empty for 15 of 15 rows (000000, 000001, 000002, …); the README.md of the manifest's folder" in shown
    assert "python -m dataset_tools.sources import-annotations FILE" in shown
    assert "start and end are empty for 445 of 445 rows" in shown
    manifest = load_manifest(folder)
    assert len(find_missing_values(manifest)) == 2
    songs = {s: {c.song_id for c in manifest.clips if c.official_split == s} for s in ("train", "test")}
    assert (len(songs["train"]), len(songs["test"])) == (43, 43) and not songs["train"] & songs["test"]
