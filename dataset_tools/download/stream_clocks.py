"""Keep video and audio from several files in sync: find where the clock of each file starts, and concatenate pieces.

The files of one video share a clock, which their timestamps show; by itself, FFmpeg would let each file start at 0. Raw audio
(AAC, MP3) has no timestamps, but HLS puts one into a tag at its start. A DASH manifest may say that a clock starts later
(presentationTimeOffset).
"""

import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import av

from dataset_tools.download.dash import parse_manifest
from dataset_tools.download.errors import Refused
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.video.media import iterate_packets, open_media

RAW = ("aac", "mp3", "ac3", "eac3")  # FFmpeg's names of containers without timestamps
HLS_TIMESTAMP = re.compile(rb"com\.apple\.streaming\.transportStreamTimestamp\0(.{8})", re.DOTALL)
HLS_CLOCK = 90_000  # Hz
OVERLAP = (
    0.5  # fraction of the shorter of video and audio that must overlap the other; less means that they share no clock
)


def read_span(path: Path) -> tuple[float | None, float]:
    """(first timestamp of a file in seconds, None without timestamps; its length in seconds, 0 if unknown)."""
    with open_media(path, "media file") as media:
        length = (media.duration or 0) / av.time_base
        if media.format.name not in RAW:
            return (media.start_time or 0) / av.time_base, length
    with open(path, "rb") as handle:
        note = HLS_TIMESTAMP.search(handle.read(4096))
    return (int.from_bytes(note[1], "big") / HLS_CLOCK if note else None), length


def compute_shifts(files: Sequence[Path], offsets: Sequence[float]) -> list[float]:
    """Seconds to add to the timestamps of each file of one video, so that they are in sync and the first one starts at 0.

    offsets: what the clock of each file shows at the beginning of the video.

    Raises Refused for files that hardly overlap, UserError for a file that is not media.
    """
    spans = [read_span(path) for path in files]
    first = next((begin - offset for (begin, _), offset in zip(spans, offsets, strict=True) if begin is not None), 0.0)
    begins = [first if begin is None else begin - offset for (begin, _), offset in zip(spans, offsets, strict=True)]
    lengths = [length for _, length in spans]
    if all(lengths):
        shared = min(b + n for b, n in zip(begins, lengths, strict=True)) - max(begins)
        if shared < OVERLAP * min(lengths):
            at = " and ".join(f"{b:.1f} to {b + n:.1f} s" for b, n in zip(begins, lengths, strict=True))
            raise Refused("permanent", f"video and audio share no clock: their timestamps go from {at}")
    zero = max(0.0, min(begins))  # the priming samples of an audio codec, before 0, do not count
    return [begin - zero - (raw or 0.0) for begin, (raw, _) in zip(begins, spans, strict=True)]


def presentation_offset(mpd: bytes, format_id: str) -> float:
    """What the clock of a DASH representation shows at the beginning of the video, in seconds; 0 if the manifest does not say."""
    root = parse_manifest(mpd)
    for chain in [] if root is None else _representations(root, ()):
        name = re.sub(r"[\s,/+\[\]()]", "_", chain[-1].get("id", ""))  # as in yt-dlp's format ids
        if not name or not re.fullmatch(rf"(.*-)?{re.escape(name)}(-\d+)?", format_id):
            continue
        segments = [e for node in chain for e in node if re.fullmatch(r"({.*})?Segment(Base|List|Template)", e.tag)]
        attributes = {name: value for e in segments for name, value in e.attrib.items()}  # the innermost wins
        try:
            return int(attributes.get("presentationTimeOffset", 0)) / int(attributes.get("timescale", 1))
        except (ValueError, ZeroDivisionError):
            return 0.0
    return 0.0


def _representations(node: ElementTree.Element, above: tuple) -> list[tuple]:
    """Every Representation with the elements that enclose it, outermost first."""
    chain = (*above, node)
    if node.tag.rpartition("}")[2] == "Representation":
        return [chain]
    return [found for child in node for found in _representations(child, chain)]


def count_playable_seconds(path: Path) -> float:
    """Seconds from the first to the last timestamp of a file that is still growing; 0 if it can't be read yet."""
    first, last = math.inf, -math.inf
    try:
        with open_media(path) as media:
            for packet in iterate_packets(media, path):
                if packet.dts is not None:
                    now = float(packet.dts * packet.time_base)
                    first, last = min(first, now), max(last, now)
    except UserError:
        pass
    return max(0.0, last - first)


def find_step_back(path: Path, but: str = "") -> float | None:
    """Time, in seconds, at which the timestamps of a stream jump back, because another video or another piece starts there; None if
    they do not. Containers that FFmpeg calls `but` are not checked."""
    last: dict[int, float] = {}
    with open_media(path, "media file") as media:
        if media.format.name == but:
            return None
        for packet in iterate_packets(media, path):
            if packet.dts is None:
                continue
            now = float(packet.dts * packet.time_base)
            before = last.get(packet.stream.index, now)
            if now < before - 1:
                return before
            last[packet.stream.index] = now
    return None


def join_pieces(pieces: Sequence[Path], out: Path, known: Sequence[float] = ()) -> list[float]:
    """Concatenate the pieces of a video into the file `out`. Each piece starts where the one before ends, or is shifted by `known`.

    Returns the seconds added to the timestamps of each piece; another stream of the same video needs the same shifts. Raises
    Refused for pieces with different encodings, UserError for a file that is not media.
    """
    with open_media(pieces[0], "media file") as media:
        kind = media.format.name
    if kind in RAW:
        with open(out, "wb") as target:
            for piece in pieces:
                with open(piece, "rb") as source:
                    shutil.copyfileobj(source, target)
        return []
    added: list[float] = []
    end = 0.0
    with av.open(str(out), "w", format="mpegts" if kind == "mpegts" else "mp4") as target:
        streams: dict[str, av.stream.Stream] = {}
        codecs: dict[str, tuple] = {}
        for number, piece in enumerate(pieces):
            with open_media(piece, "media file") as media:
                sources = [s for s in (*media.streams.video[:1], *media.streams.audio[:1]) if s.codec_context]
                found = {s.type: _codec(s, kind) for s in sources}
                if not streams:
                    streams, codecs = {s.type: target.add_stream_from_template(s) for s in sources}, found
                if not found.items() <= codecs.items():
                    raise Refused("permanent", f"piece {number + 1} of the video has another encoding than the first")
                begin = (media.start_time or 0) / av.time_base
                shift = known[number] if len(known) == len(pieces) else end - begin if number else 0.0
                added.append(shift)
                for packet in media.demux(sources):
                    if packet.dts is None or packet.pts is None:
                        continue
                    ticks = round(shift / packet.time_base)
                    packet.dts, packet.pts = packet.dts + ticks, packet.pts + ticks
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                    packet.stream = streams[packet.stream.type]
                    target.mux(packet)
    return added


def _codec(stream: av.stream.Stream, kind: str) -> tuple:
    """Properties of a stream that must be equal in all pieces. In MPEG-TS, each piece carries its own codec settings."""
    settings = b"" if kind == "mpegts" else bytes(stream.codec_context.extradata or b"")
    return stream.codec_context.name, settings


def check_clock(path: Path, but: str = "") -> None:
    """Raise Refused if the timestamps of a downloaded file go back, so that its parts would overlap."""
    try:
        at = find_step_back(path, but)
    except UserError:
        return  # `check_complete` will say what it is
    if at is not None:
        raise Refused("permanent", f"the timestamps restart at {at:.1f} s, so the order of the parts is unknown")
