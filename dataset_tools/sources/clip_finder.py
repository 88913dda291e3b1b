"""Which clip of a corpus a row of an annotation sheet is about."""

import re
from collections import defaultdict

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import Manifest
from dataset_tools.lib.core.schema import Clip
from dataset_tools.sources.annotation_values import looks_like_url, number_of, plain_name
from dataset_tools.sources.spreadsheet import shown


def same_id(text: str, own: str) -> bool:
    """Whether a cell means the video or song `own`: by name, or, where that is a number, as 'Comp 3' means '000003'."""
    return plain_name(text) == plain_name(own) or (own.isdecimal() and number_of(text) == int(own))


class ClipFinder:
    """Finds the clip that a row of a sheet is about."""

    def __init__(self, manifest: Manifest):
        self.clips = manifest.clips
        self.names: dict[str, Clip] = {}
        """Id, or number at its end, as `plain_name` writes it -> the one clip that it can mean."""
        numbers = defaultdict(list)
        for clip in manifest.clips:
            numbers[plain_name(clip.clip_id)].append(clip)
            if number := re.search(r"(\d+)$", clip.clip_id):
                numbers[str(int(number[1]))].append(clip)
        for name, found in numbers.items():
            if len(found) == 1:
                self.names[name] = found[0]

    def of(self, rows: list[dict[str, str]], by_order: bool, label: str) -> tuple[list, dict[int, str]]:
        """(the clip of each row or None, {index: why it has none})."""
        if not any("clip" in row for row in rows):
            if all(set(row) <= {"video", "url", "video_title"} and "video" in row for row in rows):
                return self._of_videos(rows)
            if not by_order:
                raise UserError(
                    f"{label}: no column tells which clip a row is about; name it with --map 'THEIRS=clip', or, where the "
                    "rows are in the order of the clips, add --by-order"
                )
            return self._in_order(rows)
        homes, lost = [], {}
        for k, row in enumerate(rows):
            home, reason = self._one(row)
            homes.append(home)
            if home is None:
                lost[k] = reason
        return homes, lost

    def _one(self, row: dict[str, str]):
        name = row.get("clip", "")
        if not name:
            return None, "it names no clip"
        parts = [row[role] for role in ("video", "song") if role in row]
        home = self.names.get(plain_name(name)) or self.names.get(plain_name("_".join([*parts, name])))
        if home is None:
            return None, f"clip '{shown(name)}' is not in clips.csv"
        for role, own in (("video", home.video_id), ("song", home.song_id)):
            if role in row and not same_id(row[role], own) and not looks_like_url(row[role]):
                return None, f"it says {role} '{shown(row[role])}', but clip {home.clip_id} is of {role} {own}"
        return home, ""

    def _of_videos(self, rows):
        """A list of compilations: each row stands for the first clip of its video."""
        first = {clip.video_id: clip for clip in reversed(self.clips)}
        homes = [next((clip for video, clip in first.items() if same_id(row["video"], video)), None) for row in rows]
        return homes, {
            k: f"video '{shown(rows[k]['video'])}' is not in videos.csv" for k, h in enumerate(homes) if h is None
        }

    def _in_order(self, rows):
        named = [role for role in ("video", "song") if any(role in row for row in rows)]
        waiting, asking = defaultdict(list), defaultdict(list)
        for clip in sorted(
            self.clips, key=lambda clip: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", clip.clip_id)]
        ):
            waiting[tuple(plain_name({"video": clip.video_id, "song": clip.song_id}[role]) for role in named)].append(
                clip
            )
        for k, row in enumerate(rows):
            asking[tuple(plain_name(row.get(role, "")) for role in named)].append(k)
        homes: list[Clip | None] = [None] * len(rows)
        lost = {}
        for key, indices in asking.items():
            clips = waiting.get(key, [])
            for n, k in enumerate(indices):
                if len(clips) == len(indices):
                    homes[k] = clips[n]
                else:
                    what = ", ".join(f"{role} '{shown(rows[k].get(role, ''))}'" for role in named) or "the corpus"
                    lost[k] = f"{what} has {len(clips)} clips, but the sheet {len(indices)} rows for it"
        return homes, lost
