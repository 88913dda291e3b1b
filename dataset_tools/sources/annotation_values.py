"""Parse cells of an annotation sheet: times, numbers of dancers, addresses of videos. Parsers raise ValueError."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from dataset_tools.lib.core.limits import DANCERS, VIDEO_SECONDS

MAX_DAYS = 3  # a spreadsheet stores 72:00 as this many days
YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
YOUTUBE_HOSTS = ("youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "youtube-nocookie.com")
NUMBER = re.compile(r"\d{1,9}(?:[.,]\d{0,20})?(?:[eE]-\d{1,2})?", re.ASCII)
CLOCK_TIME = re.compile(r"(?:(\d{1,3}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d+)?)")
ENSEMBLES = {"solo": 1, "duo": 2, "duet": 2, "trio": 3}
UNITS = re.compile(r"(?:(\d+)\s*h[a-z]*)?\s*(?:(\d+)\s*m[a-z]*)?\s*(?:(\d+(?:[.,]\d+)?)\s*s[a-z]*)?", re.IGNORECASE)


def parse_seconds(text: str) -> float:
    """Parse '75', '75.5 s', '1:15', '1:15.5', '1:02:03' or '1m15s' to seconds, rounded to a millisecond."""
    text = text.strip().replace("\uff1a", ":").rstrip(".")
    if clock := CLOCK_TIME.fullmatch(text):
        hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in clock.groups())
        if seconds >= 60 or (clock[1] and minutes >= 60):
            raise ValueError(f"'{text}' is not a time: minutes and seconds go up to 59")
        value = 3600 * hours + 60 * minutes + seconds
    elif text and (parts := UNITS.fullmatch(text)) and any(parts.groups()):
        hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in parts.groups())
        value = 3600 * hours + 60 * minutes + seconds
    else:
        if not NUMBER.fullmatch(text):
            raise ValueError(f"'{text}' is not a time; expected seconds, m:ss or h:mm:ss")
        value = float(text.replace(",", "."))
    if not 0 <= value <= VIDEO_SECONDS:
        raise ValueError(f"'{text}' is not a time between 0 s and {VIDEO_SECONDS} s")
    return round(value, 3)


def parse_range(text: str) -> tuple[float, float]:
    """Parse '1:15-1:30', '75 to 90' or '1:15 ~ 1:30' to start and end in seconds."""
    parts = re.split(r"\s*(?:-|\u2013|\u2014|~|\bto\b)\s*", text.strip())
    if len(parts) != 2:
        raise ValueError(f"'{text}' is not a range of times; expected start-end")
    return parse_seconds(parts[0]), parse_seconds(parts[1])


def mark_day_fractions(columns: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Columns of times in which numbers that may be fractions of a day (a spreadsheet stores 1:15 as 0.0520833) get a remark, so that
    they are not read as seconds.

    These are the numbers below `MAX_DAYS` in a column where one of them has more digits than milliseconds, which nobody types,
    and where no number is larger, or any column has times with a colon.
    """
    clocks = any(":" in cell for cells in columns.values() for cell in cells)
    result = {}
    for name, cells in columns.items():
        numbers = [float(cell.replace(",", ".")) for cell in cells if NUMBER.fullmatch(cell)]
        small = [n for n in numbers if n < MAX_DAYS]
        days = any(abs(1000 * n - round(1000 * n)) > 1e-3 for n in small) and (clocks or len(small) == len(numbers))
        marked = lambda cell: NUMBER.fullmatch(cell) and 0 < float(cell.replace(",", ".")) < MAX_DAYS
        result[name] = [f"{cell} (a fraction of a day?)" if days and marked(cell) else cell for cell in cells]
    return result


def parse_dancers(text: str) -> int:
    """Parse '2', '2.0', '2 dancers' or 'duo' to a number of dancers."""
    word = text.strip().lower()
    if word in ENSEMBLES:
        return ENSEMBLES[word]
    found = re.fullmatch(r"(\d{1,3})(?:\.0+)?\s*(?:dancers?|persons?|people)?", word)
    if not found or not 1 <= int(found[1]) <= DANCERS:
        raise ValueError(f"'{text}' is not a number of dancers (1 to {DANCERS})")
    return int(found[1])


def parse_url(text: str) -> str:
    """Parse the address of a video. A YouTube id, or any form of a YouTube address, becomes https://www.youtube.com/watch?v=ID."""
    text = text.strip()
    if YOUTUBE_ID.fullmatch(text):
        return f"https://www.youtube.com/watch?v={text}"
    if re.match(r"(www\.|m\.)?(youtube\.com|youtu\.be)/", text, re.IGNORECASE):
        text = f"https://{text}"
    parts = urlsplit(text)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or re.search(r"\s", text):
        raise ValueError(f"'{text}' is neither an http(s) address nor a YouTube id")
    path = [piece for piece in parts.path.split("/") if piece]
    video = ""
    if parts.hostname == "youtu.be" and path:
        video = path[0]
    elif parts.hostname in YOUTUBE_HOSTS:
        named = len(path) == 2 and path[0] in ("shorts", "embed", "live", "v")
        video = path[1] if named else parse_qs(parts.query).get("v", [""])[0]
    return f"https://www.youtube.com/watch?v={video}" if YOUTUBE_ID.fullmatch(video) else text


def parse_link_start(text: str) -> str:
    """Start time in a link: '75' for https://youtu.be/ID?t=75, '1m15s' for …&t=1m15s or …#t=1m15s, '' without one."""
    found = re.search(r"[?&#](?:t|start)=([0-9hms]+)", text)
    return found[1] if found else ""


def looks_like_url(text: str) -> bool:
    """Whether a cell is an address or a YouTube id. Digits alone are a number."""
    try:
        return bool(parse_url(text)) and not text.strip().isdigit()
    except ValueError:
        return False


def parse_number(name: str) -> int | None:
    """The number at the end of a name that has only one number: 3 for 'Comp 03', None for '1_2' and 'a'."""
    found = re.fullmatch(r"\D*?(\d+)", normalize_name(name))
    return int(found[1]) if found else None


def normalize_name(name: str) -> str:
    """A name in lower case without file extension and leading zeros: '000001_1_21.mp4' becomes '1_1_21', and '21.0' (a number that was
    stored as a float) becomes '21'."""
    stem = re.sub(r"\.(mp4|mov|mkv|webm|avi|wav|mp3)$", "", re.sub(r"^(\d+)\.0+$", r"\1", name.strip().lower()))
    return "_".join(str(int(p)) if p.isdecimal() else p for p in re.split(r"[\s_/-]+", stem) if p)
