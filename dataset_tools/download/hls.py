"""Read HLS media playlists (RFC 8216): whether they end, how long they are, and their pieces."""

import re
from urllib.parse import urljoin


def has_end(playlist: str) -> bool:
    """Whether the playlist is complete; that of a live stream is not."""
    return bool(re.search(r"(?m)^#EXT-X-(ENDLIST|PLAYLIST-TYPE:\s*VOD)", playlist))


ADVERTISEMENTS = re.compile(r"(?m)^#(ANVATO|UPLYNK)-SEGMENT")  # yt-dlp skips them


def total_seconds(playlist: str) -> float:
    """Length of all segments together; 0 if some of them are advertisements."""
    if ADVERTISEMENTS.search(playlist):
        return 0.0
    return sum(float(length) for length in re.findall(r"(?m)^#EXTINF:\s*([\d.]+)", playlist))


def count_segments(playlist: str) -> int:
    """Number of segments (files or parts of files)."""
    return len(re.findall(r"(?m)^[ \t]*[^#\s]", playlist))


def split_playlist(playlist: str, url: str) -> list[str]:
    """Split a playlist into one playlist for each piece of the video. A new piece starts where the timestamps restart
    (EXT-X-DISCONTINUITY) or another initialization (EXT-X-MAP) applies.

    The playlists have absolute addresses and repeat the key and the initialization of their piece. A playlist with
    advertisements is not split.
    """
    if ADVERTISEMENTS.search(playlist):
        return [playlist]
    found: list[list[str]] = []
    segment: list[str] = []  # tags of the next one
    key = start = ""  # the current key; the current initialization, with its own key
    count = int((re.search(r"(?m)^#EXT-X-MEDIA-SEQUENCE:\s*(\d+)", playlist) or "00")[1])
    at, new = 0, True
    for line in filter(None, map(str.strip, playlist.splitlines())):
        tag = line.split(":", 1)[0]
        if tag == "#EXT-X-KEY":
            key = _absolute(line, url)
            segment.append(key)
        elif tag == "#EXT-X-MAP":
            this = _absolute(line, url)
            new |= not start.endswith(this)
            start = "\n".join(filter(None, (key, this)))
        elif tag == "#EXT-X-DISCONTINUITY":
            new = True
        elif tag == "#EXT-X-BYTERANGE":
            length, _, offset = line.partition(":")[2].partition("@")
            at = int(offset or at)
            segment.append(f"#EXT-X-BYTERANGE:{int(length)}@{at}")
            at += int(length)
        elif tag == "#EXTINF":
            segment.append(line)
        elif not line.startswith("#"):
            if new:
                opening = ["#EXTM3U", "#EXT-X-TARGETDURATION:60", f"#EXT-X-MEDIA-SEQUENCE:{count}", start]
                found.append(opening if key in start else [*opening, key])
                new = False
            found[-1] += [*segment, urljoin(url, line)]
            segment, count = [], count + 1
    return ["\n".join(filter(None, [*lines, "#EXT-X-ENDLIST", ""])) + "\n" for lines in found]


def _absolute(line: str, url: str) -> str:
    return re.sub(r'URI="([^"]*)"', lambda found: f'URI="{urljoin(url, found[1])}"', line)
