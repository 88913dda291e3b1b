"""Choose among the formats that a site offers those that are the original video with its own audio."""

from dataset_tools.download.errors import Refused

FORMAT = "bv*+ba/b"
"""yt-dlp's format expression: the best video with the best separate audio, or else the best file with both."""
MUSIC_SITES = ("TikTok", "Douyin")
"""Extractors of sites whose separate audio is the publisher's song, which does not start where the dance starts."""
SPLIT_SITES = ("Youtube", "BiliBili")
"""Prefixes of the extractors of sites that store video and audio of a video separately."""


def sort_keys(max_height: int) -> list[str]:
    """yt-dlp's sort keys: first the resolution nearest to `max_height` px from below, or else from above (`res` is the shorter side, so
    that '720p' means the same in portrait format); then no HDR, a higher frame rate, a common video codec, the site's preferred
    language and source, and a common audio codec."""
    return [f"res:{max_height}", "hdr:sdr", "fps", "vcodec:h264", "lang", "source", "acodec:aac"]


def select_formats(formats: list[dict], site: str) -> list[dict]:
    """The formats of yt-dlp that are the video itself; `site` is the extractor's name.

    Left out are video that the site has upscaled by AI, dubbed or described audio if there is the original, and separate audio
    if there are files with both, unless it is known to belong to the video (it is in a manifest with the video, or the site
    stores them separately). Raises Refused if a site has only silent videos and songs.
    """
    kept = [f for f in formats if "AI-upscaled" not in (f.get("format_note") or "")]
    formats = kept if any(map(_has_video, kept)) else formats
    best = max((_language(f) for f in formats if _has_audio(f)), default=-1)
    formats = [f for f in formats if not (_has_audio(f) and f.get("language") and _language(f) < best)]
    manifests = {f.get("manifest_url") for f in formats if _has_video(f)} - {None}
    both = any(_has_video(f) and _has_audio(f) for f in formats)

    def foreign(f: dict) -> bool:
        if _has_video(f) or not _has_audio(f):
            return False
        return site in MUSIC_SITES or (
            both and not site.startswith(SPLIT_SITES) and f.get("manifest_url") not in manifests
        )

    own = [f for f in formats if not foreign(f)]
    if len(own) < len(formats) and not both:
        raise Refused(
            "permanent", "the site has no video with its own audio here, only a song that may start elsewhere"
        )
    return own


def _has_video(f: dict) -> bool:
    return f.get("vcodec") != "none"


def _has_audio(f: dict) -> bool:
    return f.get("acodec") != "none"


def _language(f: dict) -> float:
    """The site's preference for the language of a format; the original language has the highest."""
    value = f.get("language_preference")
    return -1 if value is None else value
