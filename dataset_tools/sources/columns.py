"""Find what each column of an annotation sheet holds: by its name, or by --map. A name in doubt is asked about."""

import re
from collections.abc import Sequence
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable

NAMES = {
    "clip": ("clip", "clip id", "clip number"),
    "video": ("video", "compilation", "compilation id"),
    "song": ("song", "song id", "music", "music id"),
    "url": ("url", "link", "video url", "video link", "youtube", "youtube link"),
    "start": ("start", "start time"),
    "end": ("end", "end time"),
    "duration": ("duration", "length"),
    "times": ("time", "times"),
    "dancers": ("dancers", "number of dancers", "# of dancers"),
    "video_title": ("video title",),
    "song_title": ("song title",),
    "artist": ("artist",),
    "genre": ("genre",),
}
"""Our role -> names of columns, for which case and punctuation do not matter."""
ROLES = (*NAMES, "ignore")
DOUBTFUL = re.compile(
    r"clip|segment|video|compilation|source|song|music|track|sound|audio|\b(dances?|cuts?|ids?|no|nr|numbers?|index|names?|files?)\b|"
    r"\b(start\w*|begin\w*|from|end(s|time)?|stops?|finish|until|to|dur|duration|length|time\w*|range|interval|period)\b"
)
"""Names of columns that may tell clips or times. Unread, such a column would not be compared with the others."""


def plain_name(name: str) -> str:
    """The name of a column in lower case, without punctuation and seconds: 'Start_Time (s)' becomes 'start time'."""
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold().replace("(s)", "")).split()) or name.strip()


ROLE_OF_NAME = {plain_name(name): role for role, names in NAMES.items() for name in names}


def parse_mapping(options: Sequence[str]) -> dict[str, str]:
    """Parse --map "THEIRS=OURS" options to {their column: our role}. Raises UserError for another form or an unknown role."""
    mapping = {}
    for option in options:
        theirs, sign, ours = option.rpartition("=")
        if not sign or not theirs.strip() or ours.strip() not in ROLES:
            raise UserError(f"--map '{printable(option)}': expected THEIRS=OURS with OURS one of {', '.join(ROLES)}")
        mapping[theirs.strip()] = ours.strip()
    return mapping


def assign_roles(path: Path, header: Sequence[str], mapping: dict[str, str]) -> tuple[dict[str, int], list[str]]:
    """({role: column index}, names of columns without a role) for the header of the sheet at `path` and parsed --map options.

    Raises UserError for a --map that names no column, two columns with the same role, and a name in doubt.
    """
    chosen = {plain_name(theirs): ours for theirs, ours in mapping.items()}
    if unknown := [printable(name) for name in mapping if plain_name(name) not in map(plain_name, header)]:
        names = printable(", ".join(filter(None, header)))
        raise UserError(f"{path}: --map '{unknown[0]}': no such column in {names}")
    roles: dict[str, int] = {}
    unused = []
    for index, name in enumerate(header):
        plain, shown = plain_name(name), printable(name)
        role = chosen.get(plain) or ROLE_OF_NAME.get(plain, "")
        if role in ("", "ignore") or (plain not in chosen and role in mapping.values()):
            unused.append(shown)
        elif role in roles:
            raise UserError(
                f"{path}: columns '{printable(header[roles[role]])}' and '{shown}' both look like {role}: say which with --map "
                f"'{shown}=ignore' or --map '{shown}={role}'"
            )
        else:
            roles[role] = index
    known = {*chosen, *ROLE_OF_NAME}
    if doubtful := [name for name in unused if plain_name(name) not in known and DOUBTFUL.search(plain_name(name))]:
        raise UserError(
            f"{path}: {', '.join(map(repr, doubtful))} may tell clips or times; say what each column is with --map 'THEIRS=OURS', where OURS "
            f"is one of {', '.join(ROLES)}"
        )
    return roles, [*filter(None, unused)]
