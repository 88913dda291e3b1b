"""Find what each column of an annotation sheet holds: by its name, matched loosely, or by its values if the name is unclear."""

import re
from collections.abc import Callable, Sequence

from dataset_tools.lib.core.errors import UserError
from dataset_tools.sources.annotation_values import looks_like_url, normalize_name
from dataset_tools.sources.spreadsheet import clean_text

ROLES = (
    "clip", "video", "song", "url", "start", "end", "duration", "times", "dancers", "video_title", "song_title", "artist",
    "genre",
)  # fmt: skip
IGNORE = "ignore"
HEADER_ROWS = 20  # the header is one of the first rows: some sheets start with a title
ROLE_WORDS = {
    "clip": "clip clips segment dance cut",
    "video": "compilation source",
    "song": "song songs music audio track sound tune",
    "url": "url urls link links youtube address href yt",
    "start": "start starts begin begins beginning from onset",
    "end": "end ends stop finish until to",
    "duration": "duration length dur",
    "times": "time times timestamp timestamps range interval period",
    "dancers": "dancer dancers people persons person ppl performer performers",
    "artist": "artist singer",
    "genre": "genre",
}
ROLE_OF_WORD = {word: role for role, words in ROLE_WORDS.items() for word in words.split()}
UNCLEAR = {"video", "videos", "id", "ids", "name", "number", "no", "index", "file", "filename"}
OTHER_UNITS = {"frame", "frames", "ms", "fps", "samples"}


def detect_role(header: str) -> str:
    """The role of a column by its name; 'unclear' if only its values can tell; '' if it has none of our roles."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", header)  # startTime, but also YouTube
    words = set(re.findall(r"[a-z]+", f"{header} {parted}".lower()))
    if "_".join(re.findall(r"[a-z]+", header.lower())) in ROLES:
        return "_".join(re.findall(r"[a-z]+", header.lower()))
    if words & OTHER_UNITS:
        return ""
    found = {ROLE_OF_WORD[word] for word in words if word in ROLE_OF_WORD}
    if "title" in words or ("name" in words and "song" in found):
        return "song_title" if "song" in found else "video_title" if words & {"video", "compilation"} else ""
    if "dancers" in found:
        return "dancers"
    if "url" in found:
        return "" if found & {"song", "artist"} else "url"
    for role in ("start", "end", "duration", "artist", "genre", "times", "clip", "song", "video"):
        if role in found:
            return role
    count_of_something = bool(re.search(r"(?:\bno|\bnr|number|#)\.?\s+of\b", header.lower()))
    return "unclear" if words & UNCLEAR and not count_of_something else ""


def find_header(rows: Sequence[tuple[int, Sequence[str]]], mapped: Sequence[str]) -> int:
    """Index of the row with the column names: the first of the rows with the most known names, among the first `HEADER_ROWS` rows."""

    def known(cells: Sequence[str]) -> int:
        return len({detect_role(c) for c in cells} - {""}) + sum(is_same_name(c, m) for c in cells for m in mapped)

    return max(range(min(len(rows), HEADER_ROWS)), key=lambda index: (known(rows[index][1]), -index))


def is_same_name(header: str, other: str) -> bool:
    """Whether two names differ only in case, spaces and punctuation."""
    plain = [re.sub(r"[\W_]+", "", name.casefold()) for name in (header, other)]
    return bool(plain[0]) and plain[0] == plain[1] or header.strip() == other.strip()


def parse_mapping(options: Sequence[str]) -> dict[str, str]:
    """Parse --map "THEIRS=OURS" options to {their column: our role}. Raises UserError for another form or an unknown role."""
    mapping = {}
    for option in options:
        theirs, sign, ours = option.rpartition("=")
        if not sign or not theirs.strip() or ours.strip() not in (*ROLES, IGNORE):
            raise UserError(
                f"--map '{clean_text(option)}': expected THEIRS=OURS with OURS one of {', '.join((*ROLES, IGNORE))}"
            )
        mapping[theirs.strip()] = ours.strip()
    return mapping


def assign_roles(
    header: Sequence[str], columns: Callable[[int], list[str]], mapping: dict[str, str], clips: set[str], videos: int
) -> tuple[dict[str, int], list[int]]:
    """({role: column index}, indices of columns without a role).

    header: names of the columns.
    columns: returns the cells of a column, by its index.
    mapping: {their column: our role} of --map.
    clips: ids and numbers of the corpus's clips, as text.
    videos: number of the corpus's compilations.

    A column with an unclear name is the url if it has addresses; the clip if it has more different values than there are
    compilations and most of them are clips; the video if it has at most as many values as there are compilations.

    Raises UserError for a --map that names no column, and for two columns with the same role.
    """
    roles: dict[str, int] = {}
    unused, unclear = [], []
    for theirs in mapping:
        if not any(is_same_name(name, theirs) for name in header):
            raise UserError(
                f"--map '{clean_text(theirs)}': no such column; the sheet has {', '.join(map(clean_text, header))}"
            )
    for index, name in enumerate(header):
        chosen = next((ours for theirs, ours in mapping.items() if is_same_name(name, theirs)), None)
        role = detect_role(name) if chosen is None else chosen
        if chosen is None and role in mapping.values():
            role = ""  # --map assigns this role to another column
        if role in ("", IGNORE):
            unused.append(index)
        elif role == "unclear":
            unclear.append(index)
        elif role in roles:
            raise UserError(
                f"columns '{clean_text(header[roles[role]])}' and '{clean_text(name)}' both look like {role}: say which with --map "
                f"'{clean_text(name)}={role}' or --map '{clean_text(name)}={IGNORE}'"
            )
        else:
            roles[role] = index
    for index in unclear:
        values = [cell for cell in columns(index) if cell]
        role = _detect_role_by_values(values, clips, videos)
        if role and role not in roles and role not in mapping.values():
            roles[role] = index
        else:
            unused.append(index)
    return roles, sorted(unused)


def _detect_role_by_values(values: list[str], clips: set[str], videos: int) -> str:
    if not values:
        return ""
    if 2 * sum(map(looks_like_url, values)) > len(values):
        return "url"
    distinct = {normalize_name(value) for value in values}
    if len(distinct) > videos and 2 * len(distinct & clips) > len(distinct):
        return "clip"
    return "video" if len(distinct) <= videos else ""
