"""`sources new`: cuts where scenes change and audio pauses, one song id for one recording, nothing overwritten."""

import cv2
import numpy as np
import pytest
import soxr

from dataset_tools.demo.music.songs import compose, synthesise
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import Manifest, load_manifest
from dataset_tools.lib.core.schema import Clip, Video, read_records
from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from dataset_tools.sources import __main__ as sources
from dataset_tools.sources.card import read_card_text
from dataset_tools.sources.check import check_corpus
from dataset_tools.sources.cutting import split_video
from dataset_tools.sources.new_corpus import NewVideo, find_uncertain_cuts, make_video_ids
from tests.helpers.footage import numbered_video, tone

RATE = 22050
OPTIONS = {"preset": "ultrafast", "crf": "23", "g": "250", "x264-params": "threads=1"}


def room(number, seconds):
    """Pictures (72, 128, 3) of a textured room seen by a camera that pans slowly, 30 a second."""
    rng = np.random.default_rng(number)
    wall = cv2.GaussianBlur(rng.uniform(0, 255, (80, 400)).astype(np.float32), (0, 0), 3)
    wall = np.clip((wall - wall.mean()) * 5 + 110, 0, 255).astype(np.uint8)
    for k in range(round(30 * seconds)):
        yield np.repeat(wall[4:76, k // 3 : k // 3 + 128, None], 3, axis=2)


def song(number, seconds, speed=1.0):
    """(2, N) int16 of a house song from its second 1 on."""
    made = synthesise(compose(number, "house", seconds=14.0), RATE)[RATE:]
    made = soxr.resample(made, RATE * speed, RATE)[: round(seconds * RATE)]
    return np.tile((26000 * made / np.abs(made).max()).astype(np.int16), (2, 1))


def film(path, pictures, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, rgb_frames(pictures), audio, RATE, audio_codec="aac", options=OPTIONS)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A film of two rooms, the second from 5 s on, whose audio pauses from 7 to 8 s, of 12 s; one with the first 7 s of that
    music, a little faster, in a third room; one with other music."""
    folder = tmp_path_factory.mktemp("films")
    music = song(1, 12)
    music[:, 7 * RATE : 8 * RATE] = 0
    rooms = [*room(1, 5), *room(2, 7)]
    return [
        film(folder / "Two rooms é.mp4", rooms, music),
        film(folder / "again.MP4", room(3, 6), song(1, 6, speed=1.03)),
        film(folder / "other.mkv.mp4", room(4, 6), song(2, 6)),
    ]


def new(root, *args):
    return sources.main(["new", "own", *map(str, args), "--root", str(root)])


def cuts_of(root, films, *args):
    """[start, end] of the clips of the first film under these options."""
    assert new(root, films[0], *args) == 0
    return [[clip.start, clip.end] for clip in load_manifest(root / "manifests" / "own").clips]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), [[0, 12]]),
        (("--cut", "none"), [[0, 12]]),
        (("--cut", "scenes"), [[0, 5], [5, 12]]),
        (("--cut", "silence"), [[0, 7], [8, 12]]),
        (("--cut", "silence", "--cut", "scenes"), [[0, 5], [5, 7], [8, 12]]),
    ],
)
def test_a_film_of_two_scenes_and_a_silence(tmp_path, films, args, expected):
    found = cuts_of(tmp_path, films, *args)
    assert len(found) == len(expected) and np.abs(np.subtract(found, expected)).max() < 0.1, found


def test_one_recording_in_two_videos_has_one_song_id(tmp_path, films, capsys):
    assert new(tmp_path, *films) == 0
    folder = tmp_path / "manifests" / "own"
    made = load_manifest(folder)
    assert [clip.song_id for clip in made.clips] == ["song_001", "song_001", "song_002"]
    assert [song.song_id for song in made.songs] == ["song_001", "song_002"]
    assert [clip.clip_id for clip in made.clips] == ["Two_rooms_e_01", "again_01", "other_mkv_01"]
    videos = read_records(folder / "videos.csv", NewVideo)
    assert [v.url for v in videos] == ["media/Two_rooms_e.mp4", "media/again.mp4", "media/other_mkv.mp4"]
    assert [v.title for v in videos] == ["Two rooms é", "again", "other.mkv"]
    assert [v.seconds for v in videos] == pytest.approx([12, 6, 6], abs=0.05)
    for video, path in zip(videos, films, strict=True):
        assert (folder / video.url).read_bytes() == path.read_bytes()
    said = capsys.readouterr().out.splitlines()
    assert "sources: song_001: one recording in 2 clips: Two_rooms_e_01, again_01" in said
    assert "3 videos of 24" in said[-2] and "3 clips, 2 songs" in said[-2]
    assert said[-1].startswith("sources: next: ")
    assert said[-1].endswith(f"python -m dataset_tools.sources --corpus own --root {tmp_path} --check")
    found = check_corpus(Layout(root=tmp_path, corpus="own"), deep=True)
    assert found.problems == [] and found.notes == [] and "3 files opened" in found.summary


def test_the_card_is_there_to_be_filled_in(tmp_path, films):
    assert new(tmp_path, films[1]) == 0
    card = tmp_path / "manifests" / "own" / "card.yaml"
    assert read_card_text(card).title == "own" and read_card_text(card).licence.startswith("not stated")
    card.write_text(card.read_text().replace("# licence: What", "licence: What"))
    assert read_card_text(card).licence == "What others may do with them, for example CC BY 4.0."


def test_cuts_that_may_be_in_the_middle_of_a_song_are_pointed_out(tmp_path):
    clips = tuple(
        Clip(clip_id=f"{video}_{n}", video_id=video, song_id=f"s{n // 2}" if video == "a" else f"{video}{n}", start=start, end=start + 4)
        for video, step in (("a", 4), ("b", 5), ("c", 4)) for n, start in enumerate((0, step, 2 * step))
    )  # fmt: skip
    videos = tuple(Video(video_id=v, url="") for v in "abc")
    said = list(find_uncertain_cuts(Manifest(folder=tmp_path, videos=videos, clips=clips, songs=())))
    assert [line.split(":")[0] for line in said] == ["a", "c"]
    assert "1 clips are followed by another song's without a pause" in said[0] and ": 2 clips are" in said[1]


def test_nothing_is_overwritten_and_files_in_the_folder_stay_there(tmp_path, films):
    folder = tmp_path / "manifests" / "own"
    (folder / "films").mkdir(parents=True)
    own = folder / "films" / "a b.mp4"
    own.write_bytes(films[1].read_bytes())
    (folder / "card.yaml").write_text("title: mine\n")
    assert new(tmp_path, own) == 0
    assert [v.url for v in load_manifest(folder).videos] == ["films/a b.mp4"] and not (folder / "media").exists()
    assert (folder / "card.yaml").read_text() == "title: mine\n"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="videos.csv: exists already, and is not overwritten; choose another name"):
        new(tmp_path, films[2])
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_file_of_the_same_name_is_kept(tmp_path, films):
    place = tmp_path / "manifests" / "own" / "media" / "again.mp4"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    with pytest.raises(UserError, match="again.mp4: exists already, and is not"):
        new(tmp_path, films[1])
    assert place.read_bytes() == b"mine"


def test_what_no_clip_can_be_cut_from_is_refused_before_anything_is_written(tmp_path, films):
    (tmp_path / "text.mp4").write_text("no film")
    silent = numbered_video(tmp_path / "silent.mp4", 30, 3)
    for bad, words in (
        (tmp_path / "none.mp4", "file not found"),
        (tmp_path, "a folder, not a file"),
        (tmp_path / "text.mp4", "not a readable video"),
        (silent, "it has no audio; a clip needs its music; leave it out or convert it"),
        ("https://example.org/a.mp4", "a web address"),
    ):
        with pytest.raises(UserError, match=words):
            new(tmp_path, films[1], bad)
    with pytest.raises(UserError, match="--cut none with --cut scenes: give one or the other"):
        new(tmp_path, films[1], "--cut", "none", "--cut", "scenes")
    with pytest.raises(UserError, match="corpus must be letters"):
        sources.main(["new", "../own", str(films[1]), "--root", str(tmp_path)])
    short = numbered_video(tmp_path / "short.mp4", 30, 1.5, tone(1.5))
    with pytest.raises(UserError, match="no clip of at least 2 s in 1 videos"):
        silence_only = numbered_video(tmp_path / "quiet.mp4", 30, 3, 0 * tone(3))
        new(tmp_path, silence_only, "--cut", "silence")
    assert not (tmp_path / "manifests").exists()
    assert new(tmp_path, short) == 0  # as a whole it is kept, and --check points it out


def test_ids_are_unique_names_on_every_disk(tmp_path):
    names = ["a.mp4", "A.mp4", "a.b.mp4", "ä.mov", ".hidden", "日本.mp4", "x" * 300 + ".mp4", "-_a.mp4"]
    found = make_video_ids([tmp_path / name for name in names])
    assert found == ["a", "A_2", "a_b", "a_3", "hidden", "video", "x" * 100, "a_4"]


def test_spans():
    assert split_video(10.0) == ([(0.0, 10.0)], [])
    assert split_video(1.0) == ([(0.0, 1.0)], [])
    assert split_video(10.0, cuts=[1.0, 4.0]) == ([(1.0, 4.0), (4.0, 10.0)], [(0.0, 1.0)])
    assert split_video(10.0, [(0.0, 1.0), (4.0, 5.0), (9.0, 10.0)]) == ([(1.0, 4.0), (5.0, 9.0)], [])
    assert split_video(10.0, [(4.0, 5.0)], [4.5, 7.5]) == ([(0.0, 4.0), (5.0, 7.5), (7.5, 10.0)], [])
    assert split_video(10.0, [(0.0, 10.0)], [3.0]) == ([], [])
