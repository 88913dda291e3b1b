"""Which file is the film: its own audio, its own picture, as large as was asked for, whichever way up it is. yt-dlp itself chooses."""

import pytest

from dataset_tools.download.errors import Refused
from dataset_tools.download.fetch import _Fetcher, ydl_options
from dataset_tools.download.formats import select_formats
from dataset_tools.download.params import Params

AAC, H264 = {"acodec": "mp4a.40.2"}, {"vcodec": "avc1.64001f"}


def both(name, width, height, **more):
    return {
        "format_id": name,
        "url": f"http://x/{name}.mp4",
        "ext": "mp4",
        "width": width,
        "height": height,
        **H264,
        **AAC,
    } | more


def picture(name, width, height, **more):
    return both(name, width, height, **{"acodec": "none"} | more)


def audio(name, **more):
    return {"format_id": name, "url": f"http://x/{name}.m4a", "ext": "m4a", "vcodec": "none", **AAC} | more


def chosen(tmp_path, formats, site="Generic", sort=(), **params):
    """format_id of what is taken."""
    with _Fetcher(ydl_options(Params(**params), tmp_path, local=True)) as ydl:
        info = {"id": "1", "title": "t", "formats": formats, "extractor": site, "extractor_key": site, "webpage_url": "http://x/1",
                "_format_sort_fields": sort}  # fmt: skip
        return ydl.process_ie_result(info, download=False)["format_id"]


UPRIGHT = [both("360", 360, 640), both("404", 404, 720), both("720", 720, 1280), both("1080", 1080, 1920)]
ACROSS = [both("360", 640, 360), both("720", 1280, 720), both("1080", 1920, 1080)]


@pytest.mark.parametrize("formats", [UPRIGHT, ACROSS, [*UPRIGHT[::-1], both("unknown", None, None)]])
def test_the_limit_is_of_the_shorter_side(tmp_path, formats):
    assert chosen(tmp_path, formats) == "720"
    assert chosen(tmp_path, formats, max_height=1080) == "1080"
    assert chosen(tmp_path, formats[:3], max_height=600) in ("404", "360")


def test_where_all_are_larger_the_nearest_is_taken(tmp_path):
    assert chosen(tmp_path, [both("2160", 3840, 2160), both("1080", 1920, 1080)]) == "1080"
    assert chosen(tmp_path, [both("1440", 1440, 2560), both("1080", 1080, 1920)]) == "1080"


def test_a_song_beside_the_films_is_not_their_audio(tmp_path):
    films = [
        both("540", 576, 1024),
        both("720", 720, 1280),
        picture("silent720", 720, 1280),
        picture("silent1080", 1080, 1920),
    ]
    for site in ("TikTok", "Douyin", "SomeOtherSite"):
        for max_height in (720, 1080):
            assert chosen(tmp_path, [*films, audio("music")], site, max_height=max_height) == "720"
    assert (
        chosen(tmp_path, [picture("silent720", 1280, 720), both("540", 1024, 576), audio("music")], "TikTok") == "540"
    )
    for nothing_else in ([picture("silent", 720, 1280), audio("music")], [audio("music")]):
        with pytest.raises(Refused, match="no video with its own audio") as err:
            chosen(tmp_path, nothing_else, "TikTok")
        assert err.value.status == "permanent"


def test_audio_that_is_known_to_be_the_films_own_is_taken(tmp_path):
    youtube = [both("18", 640, 360), picture("136", 1280, 720), audio("140")]
    assert chosen(tmp_path, youtube, "Youtube") == "136+140"
    apart = [picture("v", 1280, 720), audio("a")]
    assert chosen(tmp_path, apart) == "v+a", "nothing else is there"
    manifest = {"manifest_url": "http://x/film.m3u8"}
    assert (
        chosen(tmp_path, [both("360", 640, 360), picture("v", 1280, 720, **manifest), audio("a", **manifest)]) == "v+a"
    )
    other = {"manifest_url": "http://x/radio.m3u8"}
    assert chosen(tmp_path, [both("360", 640, 360), picture("v", 1280, 720, **manifest), audio("a", **other)]) == "360"


def test_pictures_that_a_site_made_up_are_not_taken(tmp_path):
    upscaled = picture("136-sr", 1280, 720, format_note="720p, AI-upscaled")
    assert chosen(tmp_path, [upscaled, picture("135", 854, 480), audio("140")], "Youtube") == "135+140"
    assert chosen(tmp_path, [upscaled, audio("140")], "Youtube") == "136-sr+140", "nothing else is there"
    assert chosen(tmp_path, [picture("135", 854, 480, dynamic_range="HDR10", fps=60), picture("134", 854, 480, fps=30), audio("140")],
                  "Youtube", ("hdr:12",)) == "134+140"  # fmt: skip


def test_the_original_language_is_taken_whatever_its_quality(tmp_path):
    original = audio("251", acodec="opus", ext="webm", language="ko", language_preference=10, quality=1)
    dubbed = [audio("140-0", language="en", language_preference=5, quality=3), audio("140-1", language="es", quality=3),
              audio("140-2", language="ko-desc", language_preference=-10, quality=9)]  # fmt: skip
    film = picture("136", 1280, 720)
    assert chosen(tmp_path, [film, *dubbed, original], "Youtube", ("quality", "lang")) == "136+251"
    assert chosen(tmp_path, [film, *dubbed], "Youtube", ("quality", "lang")) == "136+140-0", (
        "the site's default, where no original is"
    )
    muxed = [both("96-0", 1280, 720, language="en"), both("95-1", 854, 480, language="ko", language_preference=10)]
    assert chosen(tmp_path, muxed, "Youtube") == "95-1"
    hls = [
        audio("es", source_preference=-2, acodec="mp4a.40.2", abr=256),
        audio("ko", acodec="opus", ext="webm", abr=64),
    ]
    assert chosen(tmp_path, [picture("v", 1280, 720), *hls]) == "v+ko", (
        "alternate audio is not the default, though it is larger"
    )
    unknown = both("96", 1280, 720)
    assert chosen(tmp_path, [unknown, original, picture("135", 854, 480)], "Youtube") == "96", (
        "no language is no other language"
    )


def test_a_format_of_ones_own_is_looked_for_among_all(tmp_path):
    formats = [both("540", 1024, 576), picture("silent", 1280, 720), audio("music")]
    assert chosen(tmp_path, formats, "TikTok", format="silent+music") == "silent+music"
    assert len(select_formats(formats, "TikTok")) == 2
