"""Which of the formats that a site offers are the film: its own picture and its own sound, as they were made."""

from dataset_tools.download.errors import Refused

FORMAT = "bv*+ba/b"
"""Of those formats: the best picture with the best loose sound, else the best file that has both."""
MUSIC_SITES = ("TikTok", "Douyin")
"""Extractors of sites whose loose sound is the song as its publisher has it: it begins elsewhere than the dance."""
SPLIT_SITES = ("Youtube", "BiliBili")
"""Beginnings of the names of extractors of sites that keep a film's own picture and sound apart."""


def sort_keys(max_height: int) -> list[str]:
    """yt-dlp's sort keys: the nearest to `max_height` px from below (`res` is the shorter side, so that '720p' means the same
    upright), else from above; then no HDR, more frames a second, a picture that every player knows, the site's own
    recommendation of a language and of a source, sound that every player knows."""
    return [f"res:{max_height}", "hdr:sdr", "fps", "vcodec:h264", "lang", "source", "acodec:aac"]


def select_formats(formats: list[dict], site: str) -> list[dict]:
    """Those of yt-dlp's formats that are the film; `site` is the extractor's name.

    Not the film are pictures that the site has upscaled by AI, dubbed or described sound where the original is there, and
    loose sound beside files that have both, unless it is known to be the film's: from a manifest that has the picture too, or
    of a site that keeps them apart. Raises Refused where a site has nothing but silent films and songs.
    """
    kept = [f for f in formats if "AI-upscaled" not in (f.get("format_note") or "")]
    formats = kept if any(map(_has_picture, kept)) else formats
    best = max((_language(f) for f in formats if _has_audio(f)), default=-1)
    formats = [f for f in formats if not (_has_audio(f) and f.get("language") and _language(f) < best)]
    manifests = {f.get("manifest_url") for f in formats if _has_picture(f)} - {None}
    both = any(_has_picture(f) and _has_audio(f) for f in formats)

    def foreign(f: dict) -> bool:
        if _has_picture(f) or not _has_audio(f):
            return False
        return site in MUSIC_SITES or (
            both and not site.startswith(SPLIT_SITES) and f.get("manifest_url") not in manifests
        )

    film = [f for f in formats if not foreign(f)]
    if len(film) < len(formats) and not both:
        raise Refused(
            "permanent", "the site has no film with its own sound here, and a song's file that may begin elsewhere"
        )
    return film


def _has_picture(f: dict) -> bool:
    return f.get("vcodec") != "none"


def _has_audio(f: dict) -> bool:
    return f.get("acodec") != "none"


def _language(f: dict) -> float:
    """How much a site recommends a format's language; the original's is the highest."""
    value = f.get("language_preference")
    return -1 if value is None else value
