"""Format the time in an Excel cell as Excel displays it. Excel stores a number of days, and the cell's format says how to display it.

A format may hide a part of a time: the day of 24:30 under h:mm, the hours under mm:ss, the half of the day under AM/PM. Whether
the hidden part was typed, no rule can tell. Such a time becomes a text with both readings, which is not parsed as a time.

Formats: ECMA-376 part 1, 18.8.31.
"""

import re
from datetime import datetime, time, timedelta
from itertools import pairwise

TOKEN = re.compile(
    r'"([^"]*)"|\\(.)|_.|\*.|\[(h+|m+|s+)\]|\[[^\]]*\]|(AM/PM|A/P)|(h+|m+|s+|y+|d+|e+|b+)|(\.0+)|(.)',
    re.IGNORECASE | re.DOTALL,
)
"""Groups: 1 quoted text, 2 escaped letter, (space, fill), 3 elapsed unit, (colour, locale, condition), 4 half of the day, 5 part of a
date or time, 6 fraction of a second, 7 any other letter."""
DAY = 24 * 3600
ELAPSED = ("[h]", "[m]", "[s]")
"""Units of elapsed time: a smaller one includes the larger ones."""
COLON_VARIANTS = (".", ",", "-", "/", "'")
"""Characters that some regions write between two units instead of a colon. Unchanged, 1.15 would be read as seconds and 1-15 as a range."""


def format_time(value: datetime | time | timedelta, number_format: str, epoch: datetime) -> str:
    """The displayed text of a cell that openpyxl reads as a date or time. `epoch` is the workbook's.

    If the format hides a part of the time, the full time follows in brackets. A date is written in full.
    """
    from openpyxl.utils.datetime import to_excel

    seconds = value.total_seconds() if isinstance(value, timedelta) else to_excel(value, epoch) * DAY
    seconds = round(seconds, 3)
    if seconds < 0:
        return f"-{_format_clock(-seconds)}"
    parts = _parse_format(number_format)
    kinds = {kind for kind, _ in parts}
    if "date" in kinds or not kinds & {"h", "m", "s", *ELAPSED}:
        return f"a date ({value if isinstance(value, datetime) and seconds > 366 * DAY else _format_clock(seconds)} in the cell)"
    elapsed = next((kind for kind in ELAPSED if kind in kinds), "")
    left = seconds if elapsed else seconds % DAY
    hidden = seconds > left or "half" in kinds and not 3600 <= left < DAY / 2
    for kind, size, more in (("h", 3600, DAY), ("m", 60, 3600), ("s", 1, 60)):
        hidden |= left % more >= size and not kinds & {kind, *ELAPSED[ELAPSED.index(f"[{kind}]") :]}
    text = "".join(
        letters if kind == "text" else _format_part(kind, len(letters), left, "half" in kinds)
        for kind, letters in parts
    )
    text = " ".join((text + (" AM" if left < DAY / 2 else " PM") * ("half" in kinds and hidden)).split())
    return f"{text} ({_format_clock(seconds)} in the cell)" if hidden else text


def format_number(value: int, number_format: str) -> str:
    """The displayed text of an integer whose format has a colon between its digits (115 is 1:15 under 0:00); with any other format, the
    number itself."""
    parts = _parse_format(number_format)
    if value < 0 or not any(kind == "text" and ":" in letters for kind, letters in parts[1:-1]):
        return str(value)
    digits, text = list(str(value)), ""
    for _, letters in reversed(parts):
        if letters in ("0", "#", "?"):
            text = (digits.pop() if digits else "0" if letters == "0" else "") + text
        else:
            text = letters + text
    return "".join(digits) + text


def _format_clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{rest:06.3f}".removesuffix(".000")


def _format_part(kind: str, width: int, seconds: float, half: bool) -> str:
    """The text of one part of a format; '' for the half of the day."""
    if kind == "half":
        return ""
    if kind in ("s", "[s]"):
        return f"{seconds % 60 if kind == 's' else seconds:0{width + 4}.3f}".removesuffix(".000")
    hours, minutes = int(seconds // 3600), int(seconds // 60)
    number = {"h": hours % 24, "m": minutes % 60, "[h]": hours, "[m]": minutes}[kind]
    return f"{number % 12 or 12 if kind == 'h' and half else number:0{width}d}"


def _parse_format(number_format: str) -> list[tuple[str, str]]:
    """[(kind, letters)] of the first section of a format, that for positive numbers. Kinds: 'h', 'm' (minutes), 's', '[h]', '[m]',
    '[s]', 'half' (of the day), 'date', 'text'. Excel's rule: m means minutes after h or before s, else months."""
    parts: list[tuple[str, str]] = []
    for found in TOKEN.finditer(number_format):
        quoted, escaped, elapsed, half, unit, fraction, other = found.groups()
        if other == ";":
            break
        if elapsed:
            parts.append((f"[{elapsed[0].lower()}]", elapsed))
        elif half:
            parts.append(("half", half))
        elif unit:
            parts.append((unit[0].lower() if unit[0].lower() in "hms" else "date", unit))
        elif fraction:
            continue  # seconds are written with their fraction in any case
        else:
            parts.append(("text", quoted or escaped or (other or "").strip("@")))
    units = [k for k, (kind, _) in enumerate(parts) if kind not in ("text", "half")]
    for place, k in enumerate(units):
        before = parts[units[place - 1]][0] if place else ""
        after = parts[units[place + 1]][0] if place + 1 < len(units) else ""
        if parts[k][0] == "m" and before not in ("h", "[h]") and after not in ("s", "[s]"):
            parts[k] = ("date", parts[k][1])
        if place and k - units[place - 1] == 2 and parts[k - 1][1] in COLON_VARIANTS:
            parts[k - 1] = ("text", ":")
    for k in reversed([k for before, k in pairwise(units) if k - before == 1]):  # mmss: 0115 would be read as seconds
        parts.insert(k, ("text", ":"))
    return parts
