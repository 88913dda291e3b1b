"""Picture and sound from several files in step: where each file's clock begins, and putting pieces one after the other.

Files of one film share a clock, which their time stamps tell; FFmpeg by itself lets each begin at 0. Raw sound (AAC, MP3) has no
stamps but, in HLS, a note at its head; DASH can say in its manifest that a clock begins later (presentationTimeOffset).
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

RAW = ("aac", "mp3", "ac3", "eac3")  # FFmpeg's names of containers without time stamps
HLS_TIMESTAMP = re.compile(rb"com\.apple\.streaming\.transportStreamTimestamp\0(.{8})", re.DOTALL)
HLS_CLOCK = 90_000  # Hz
OVERLAP = 0.5  # of the shorter of picture and sound must lie within the other: else they share no clock


def read_span(path: Path) -> tuple[float | None, float]:
    """Second at which a file's first stamp stands (None without stamps), and its length in seconds (0 where it says none)."""
    with open_media(path) as media:
        length = (media.duration or 0) / av.time_base
        if media.format.name not in RAW:
            return (media.start_time or 0) / av.time_base, length
    with open(path, "rb") as handle:
        note = HLS_TIMESTAMP.search(handle.read(4096))
    return (int.from_bytes(note[1], "big") / HLS_CLOCK if note else None), length


def compute_shifts(files: Sequence[Path], offsets: Sequence[float]) -> list[float]:
    """Seconds to add to the stamps of each file of one film, so that they are in step and the first begins at 0. `offsets` is
    what each one's clock says at the film's beginning. Raises Refused where they hardly overlap, UserError for what is no media."""
    spans = [read_span(path) for path in files]
    first = next((begin - offset for (begin, _), offset in zip(spans, offsets, strict=True) if begin is not None), 0.0)
    begins = [first if begin is None else begin - offset for (begin, _), offset in zip(spans, offsets, strict=True)]
    lengths = [length for _, length in spans]
    if all(lengths):
        shared = min(b + n for b, n in zip(begins, lengths, strict=True)) - max(begins)
        if shared < OVERLAP * min(lengths):
            at = " and ".join(f"{b:.1f} to {b + n:.1f} s" for b, n in zip(begins, lengths, strict=True))
            raise Refused("permanent", f"picture and sound share no clock: their stamps go from {at}")
    zero = max(0.0, min(begins))  # a sound codec's run-up before 0 does not count
    return [begin - zero - (raw or 0.0) for begin, (raw, _) in zip(begins, spans, strict=True)]


def presentation_offset(mpd: bytes, format_id: str) -> float:
    """What the clock of a DASH representation says at the film's beginning, in seconds; 0 where the manifest says nothing."""
    root = parse_manifest(mpd)
    for chain in [] if root is None else _representations(root, ()):
        name = re.sub(r"[\s,/+\[\]()]", "_", chain[-1].get("id", ""))  # as yt-dlp writes it
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
    """Every Representation with the elements around it, outermost first."""
    chain = (*above, node)
    if node.tag.rpartition("}")[2] == "Representation":
        return [chain]
    return [found for child in node for found in _representations(child, chain)]


def count_playable_seconds(path: Path) -> float:
    """Seconds from the first to the last stamp of a file that is still growing; 0 where nothing can be read of it yet."""
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
    """Second at which a stream's time stamps jump back: there another film, or another piece of one, begins. Not looked for in
    containers that FFmpeg calls `but`."""
    last: dict[int, float] = {}
    with open_media(path) as media:
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
    """Put the pieces of a film one after the other into the file `out`, each where the one before ends, or by `known` shifts.

    Returns the seconds that were added to each piece's stamps: what another stream of the same film needs, too. Raises Refused
    where pieces are encoded in different ways, UserError for what is no media.
    """
    with open_media(pieces[0]) as media:
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
            with open_media(piece) as media:
                sources = [s for s in (*media.streams.video[:1], *media.streams.audio[:1]) if s.codec_context]
                found = {s.type: _codec(s, kind) for s in sources}
                if not streams:
                    streams, codecs = {s.type: target.add_stream_from_template(s) for s in sources}, found
                if not found.items() <= codecs.items():
                    raise Refused("permanent", f"piece {number + 1} of the film is encoded otherwise than the first")
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
    """What must be equal in all pieces: in MPEG-TS the pictures bring their own settings along."""
    settings = b"" if kind == "mpegts" else bytes(stream.codec_context.extradata or b"")
    return stream.codec_context.name, settings


def check_clock(path: Path, but: str = "") -> None:
    """Raise Refused where a downloaded file's stamps go back: its later part would lie over the first."""
    try:
        at = find_step_back(path, but)
    except UserError:
        return  # what it is instead, `whole` will say
    if at is not None:
        raise Refused(
            "permanent", f"the film's time stamps begin anew at {at:.1f} s, and nothing says what follows what"
        )
