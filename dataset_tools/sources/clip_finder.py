"""Match the rows of an annotation sheet to the clips of a corpus."""

import re
from collections import defaultdict

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import Manifest
from dataset_tools.lib.core.schema import Clip
from dataset_tools.sources.annotation_values import looks_like_url, normalize_name, parse_number
from dataset_tools.sources.spreadsheet import clean_text


def is_same_id(text: str, own: str) -> bool:
    """Whether a cell means the video or song `own`: by its name or, if that is a number, by this number ('Comp 3' means '000003')."""
    return normalize_name(text) == normalize_name(own) or (own.isdecimal() and parse_number(text) == int(own))


class ClipFinder:
    """Finds the clips of the rows of a sheet."""

    def __init__(self, manifest: Manifest):
        self.clips = manifest.clips
        self.names: dict[str, Clip] = {}
        """Id of a clip or the number at its end, after `normalize_name` -> the only clip that it can mean."""
        numbers = defaultdict(list)
        for clip in manifest.clips:
            numbers[normalize_name(clip.clip_id)].append(clip)
            if number := re.search(r"(\d+)$", clip.clip_id):
                numbers[str(int(number[1]))].append(clip)
        for name, found in numbers.items():
            if len(found) == 1:
                self.names[name] = found[0]

    def find_clips(self, rows: list[dict[str, str]], by_order: bool, label: str) -> tuple[list, dict[int, str]]:
        """(the clip of each row, or None; {index of a row: why it has no clip})."""
        if not any("clip" in row for row in rows):
            if all(set(row) <= {"video", "url", "video_title"} and "video" in row for row in rows):
                return self._first_clips_of_videos(rows)
            if not by_order:
                raise UserError(
                    f"{label}: no column tells which clip a row is about; name it with --map 'THEIRS=clip', or, where the "
                    "rows are in the order of the clips, add --by-order"
                )
            return self._in_order(rows)
        matches, unmatched = [], {}
        for k, row in enumerate(rows):
            clip, reason = self._find_clip(row)
            matches.append(clip)
            if clip is None:
                unmatched[k] = reason
        return matches, unmatched

    def _find_clip(self, row: dict[str, str]):
        name = row.get("clip", "")
        if not name:
            return None, "it names no clip"
        parts = [row[role] for role in ("video", "song") if role in row]
        clip = self.names.get(normalize_name(name)) or self.names.get(normalize_name("_".join([*parts, name])))
        if clip is None:
            return None, f"clip '{clean_text(name)}' is not in clips.csv"
        for role, own in (("video", clip.video_id), ("song", clip.song_id)):
            if role in row and not is_same_id(row[role], own) and not looks_like_url(row[role]):
                return (
                    None,
                    f"it says {role} '{clean_text(row[role])}', but clip {clip.clip_id} belongs to {role} {own}",
                )
        return clip, ""

    def _first_clips_of_videos(self, rows):
        """For a list of compilations: the first clip of each row's video."""
        first = {clip.video_id: clip for clip in reversed(self.clips)}
        matches = [
            next((clip for video, clip in first.items() if is_same_id(row["video"], video)), None) for row in rows
        ]
        return matches, {
            k: f"video '{clean_text(rows[k]['video'])}' is not in videos.csv"
            for k, h in enumerate(matches)
            if h is None
        }

    def _in_order(self, rows):
        named = [role for role in ("video", "song") if any(role in row for row in rows)]
        clips_of, rows_of = defaultdict(list), defaultdict(list)
        for clip in sorted(
            self.clips, key=lambda clip: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", clip.clip_id)]
        ):
            clips_of[
                tuple(normalize_name({"video": clip.video_id, "song": clip.song_id}[role]) for role in named)
            ].append(clip)
        for k, row in enumerate(rows):
            rows_of[tuple(normalize_name(row.get(role, "")) for role in named)].append(k)
        matches: list[Clip | None] = [None] * len(rows)
        unmatched = {}
        for key, indices in rows_of.items():
            clips = clips_of.get(key, [])
            for n, k in enumerate(indices):
                if len(clips) == len(indices):
                    matches[k] = clips[n]
                else:
                    what = ", ".join(f"{role} '{clean_text(rows[k].get(role, ''))}'" for role in named) or "the corpus"
                    unmatched[k] = f"{what} has {len(clips)} clips, but the sheet {len(indices)} rows for it"
        return matches, unmatched
