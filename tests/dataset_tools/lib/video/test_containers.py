"""Which files are opened as videos: those that hold their own pictures, whatever they are called, and none that leads to another."""

import os
from pathlib import Path

import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.video.video_io import probe, read_audio
from tests.helpers.footage import numbered_video, tone


@pytest.fixture
def film(tmp_path, monkeypatch):
    """A film of 1 s in the current folder."""
    monkeypatch.chdir(tmp_path)
    numbered_video(tmp_path / "film.mp4", 30, 1, tone(1))
    return tmp_path / "film.mp4"


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n{map}#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("name, text", [
    ("list.m3u8", HLS), ("list.m3u", HLS), ("list.mp4", HLS), ("list.hls", HLS),
    ("map.m3u8", HLS.replace("{map}", '#EXT-X-MAP:URI="{film}"\n')),
    ("list.ffconcat", "ffconcat version 1.0\nfile film.mp4\n"), ("list.mkv", "ffconcat version 1.0\nfile film.mp4\n"),
    ("a.mpd", ('<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation><BaseURL>{film}</BaseURL>'
              "</Representation></AdaptationSet></Period></MPD>")),
    ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
])  # fmt: skip
def test_what_leads_to_other_files_is_not_opened(film, name, text):
    Path(name).write_text(text.format(film=film.as_uri() if name == "list.hls" else film.name, map=""))
    for read in (probe, read_audio):
        with pytest.raises(UserError, match=f"^{name}: not a readable video: [^\\n]+$"):
            read(Path(name))


def test_numbered_pictures_are_not_a_video(film):
    Path("film%d.png").write_bytes(b"")
    with pytest.raises(UserError, match="not a readable video"):
        probe(Path("film%d.png"))


@pytest.mark.parametrize("name", ["film", "film.m3u8", "a:b.mp4", "concat:film.mp4", "data:x", "img%03d.mp4"])
def test_a_film_is_a_film_whatever_it_is_called(film, name):
    os.rename(film, name)
    assert probe(Path(name)).seconds == 1.0
