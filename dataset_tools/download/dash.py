"""Check DASH manifests (ISO/IEC 23009-1) before yt-dlp reads them. yt-dlp lists all fragments, and a short manifest can declare
endlessly many."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from yt_dlp.utils import parse_duration

FRAGMENT_LISTS = ("segmentlist", "segmenttemplate")
MANIFEST_START = re.compile(r"<([^\s<>/:]+:)?mpd\b", re.IGNORECASE)


def parse_manifest(page: bytes) -> ElementTree.Element | None:
    """The MPD element (in any case of letters) of a manifest; None for any other page. The declared encoding is ignored, because Python
    does not know all of them and all names are ASCII."""
    wide = page.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = page.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    try:
        root = ElementTree.fromstring(text) if MANIFEST_START.search(text) else None
    except ElementTree.ParseError:
        return None
    return root if root is not None and _kind(root) == "mpd" else None


def count_fragments(page: bytes) -> float:
    """Number of fragments of all representations of a manifest together, as yt-dlp counts them; 0 for any other page."""
    root = parse_manifest(page)
    if root is None:
        return 0
    whole, count = parse_duration(root.get("mediaPresentationDuration")) or 0, 0.0
    for period in root:
        if _kind(period) == "period":
            count += _count_in(period, parse_duration(period.get("duration")) or whole, {}, 0)
    return count


def _count_in(node: ElementTree.Element, seconds: float, above: Mapping[str, str], repeated: float) -> float:
    """Number of fragments of all representations in `node`. `above` has the inherited attributes; `repeated` is the number of segments
    in the inherited timeline."""
    for found in node:
        if _kind(found) in FRAGMENT_LISTS:
            above = {**above, **found.attrib}
            repeated = sum(1 + max(0, _number(s.get("r"), 0)) for s in found.iter() if _kind(s) == "s") or repeated
    if _kind(node) == "representation":
        length = _number(above.get("duration"), 0) / (_number(above.get("timescale"), 1) or 1)
        return repeated or (seconds / length if length > 0 else 0)
    return sum(
        _count_in(child, seconds, above, repeated)
        for child in node
        if _kind(child) in ("adaptationset", "representation")
    )


def _kind(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2].lower()


def _number(text: str | None, default: float) -> float:
    try:
        return float(text or default)
    except ValueError:
        return default
