"""Parse cells of an annotation sheet: times, numbers of dancers, addresses of videos. Parsers raise ValueError."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from dataset_tools.lib.core.limits import DANCERS, VIDEO_SECONDS

YOUTUBE_ID = r"([A-Za-z0-9_-]{11})"
YOUTUBE = re.compile(
    r"(?:https?://)?(?:(?:www|m|music)\.)?"
    r"(?:youtu\.be/|youtube(?:-nocookie)?\.com/(?:(?:shorts|embed|live|v)/|watch\?(?:[^\s#]*?&)?v=))"
    rf"{YOUTUBE_ID}(?:[/?&#]\S*)?",
    re.IGNORECASE | re.ASCII,
)
NUMBER = re.compile(r"\d{1,9}(?:[.,]\d{1,20})?(?:[eE]-\d{1,2})?", re.ASCII)
CLOCK_TIME = re.compile(r"(?:(\d{1,3}):)?(\d{1,4}):(\d{2}(?:[.,]\d{1,20})?)", re.ASCII)
MAX_DISAGREEMENT = 1.5  # seconds between an end and start + duration, because people round
MIN_SECONDS = 1.0  # a shorter time between start and end means that they are not in seconds
MAX_DAYS = 3  # a spreadsheet stores 72:00 as this many days
MIN_WHOLE_MINUTES = 5  # if so many times all end in :00, they may be minutes and seconds that became hours and minutes


def parse_seconds(text: str) -> float:
    """Parse '75', '75.5', '1:15', '1:15.5' or '1:02:03' to seconds, rounded to a millisecond."""
    if clock := CLOCK_TIME.fullmatch(text):
        hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in clock.groups())
        if seconds >= 60 or (clock[1] and minutes >= 60):
            raise ValueError(f"'{text}' is not a time: minutes and seconds go up to 59")
        value = 3600 * hours + 60 * minutes + seconds
    elif re.search(r",\d{3}$", text):
        raise ValueError(f"'{text}' may be thousands or milliseconds; write seconds with a point, m:ss or h:mm:ss")
    elif NUMBER.fullmatch(text):
        value = float(text.replace(",", "."))
    else:
        raise ValueError(f"'{text}' is not a time; write seconds, m:ss or h:mm:ss")
    if value > VIDEO_SECONDS:
        raise ValueError(f"'{text}' is not a time between 0 s and {VIDEO_SECONDS} s")
    return round(value, 3)


def parse_times(row: Mapping[str, str]) -> tuple[float, float] | None:
    """Start and end in seconds from a row's {role: cell}: start and end, start and duration, or a range; None without times."""
    told = [role for role in ("start", "end", "duration", "times") if role in row]
    if not told:
        return None
    if told == ["times"]:
        parts = re.split(r"\s*[-\u2013\u2014]\s*", row["times"])
        if len(parts) != 2:
            raise ValueError(f"'{row['times']}' is not a range of times; write start-end, such as 1:15-1:30")
        start, end = map(parse_seconds, parts)
    elif "times" in told or "start" not in told or len(told) < 2:
        raise ValueError(f"it has {', '.join(told)}; give start and end, start and duration, or times alone")
    else:
        start = parse_seconds(row["start"])
        ends = [parse_seconds(row["end"])] if "end" in row else []
        ends += [round(start + parse_seconds(row["duration"]), 3)] if "duration" in row else []
        end = ends[0]
        if abs(end - ends[-1]) > MAX_DISAGREEMENT:
            raise ValueError(f"start {start} s and duration {row['duration']} do not end at {end} s")
    if end - start < MIN_SECONDS:
        raise ValueError(f"its end {end} s is not {MIN_SECONDS} s or more after its start {start} s")
    return start, end


def find_doubtful_time(rows: Iterable[tuple[int, Mapping[str, str]]]) -> str:
    """Why the times of numbered rows of {role: cell} may have another unit than they seem to have; '' if nothing speaks for it."""
    told = [(n, role, row[role]) for n, row in rows for role in ("start", "end", "duration") if role in row]
    for number, role, cell in told:
        milliseconds = 1000 * float(cell.replace(",", ".")) if NUMBER.fullmatch(cell) else 0
        if milliseconds < 1000 * MAX_DAYS and abs(milliseconds - round(milliseconds)) > 1e-3:  # which nobody types
            return f"row {number}: {role} '{cell}' may be a fraction of a day; format it as h:mm:ss, or round to milliseconds"
    long = [(n, cell) for n, role, cell in told if role != "duration" and cell.count(":") == 2]
    if len(long) >= MIN_WHOLE_MINUTES and all(re.search(r":00(?:\.0+)?$", cell) for _, cell in long):
        return f"row {long[0][0]}: '{long[0][1]}', as all h:mm:ss of the sheet, ends in :00; write minutes and seconds as m:ss, hours as seconds"
    return ""


def parse_dancers(text: str) -> int:
    """Parse a number of dancers."""
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not 1 <= int(text) <= DANCERS:
        raise ValueError(f"'{text}' is not a number of dancers (1 to {DANCERS})")
    return int(text)


def parse_url(text: str) -> str:
    """Parse the address of a video. A YouTube id, or any form of a YouTube address, becomes https://www.youtube.com/watch?v=ID."""
    if found := re.fullmatch(YOUTUBE_ID, text) or YOUTUBE.fullmatch(text):
        return f"https://www.youtube.com/watch?v={found[1]}"
    parts = urlsplit(text)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or re.search(r"\s", text):
        raise ValueError(f"'{text}' is neither an http(s) address nor a YouTube id; write the address itself")
    return text


def normalize_name(name: str) -> str:
    """A name in lower case and without leading zeros: '000001_1_21' becomes '1_1_21'."""
    return "_".join(str(int(part)) if part.isdecimal() else part for part in name.lower().split("_"))
