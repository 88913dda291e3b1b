"""One video ahead of many: what would hit all of a site, or all, is met once, before anything is given up."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from dataset_tools.download.classify import NETWORK
from dataset_tools.download.dead_links import host_of
from dataset_tools.lib.core.errors import UserError, one_line
from dataset_tools.lib.core.schema import Video

MANY = 20  # videos above which one goes first, alone
CANARIES = 3  # at most of a site, where the first are dead links or get no answer
SITES = 10  # that do not answer, after which none is taken to


def send_canaries(videos: Sequence[Video], outcome: Callable[[Video], dict]) -> dict[str, dict]:
    """Fetch one of `videos` (a few, where the first are dead links) from the site that has most of them, and from each other one
    that has over `MANY`. `outcome` fetches a video and gives a note of `video_cache`.

    Returns {site: status and reason} of sites that would refuse all of theirs, as their guard against robots does. A site that does
    not answer may be gone; it is not among them. Raises UserError where no site is left.
    """
    by_site: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        by_site[host_of(video.url)].append(video)
    answered, closed, silent = False, {}, {}
    for name in sorted(by_site, key=lambda name: -len(by_site[name])):
        if len(by_site[name]) <= MANY if answered else len(silent) == SITES:
            break
        found = _try_site(by_site[name], outcome)
        if not found.get("advice"):
            answered |= bool(found)
            continue
        reason = f"{one_line(found['reason'])}; {found['advice']}"
        what = silent if found["advice"] == NETWORK else closed
        what[name] = {
            "status": found["status"],
            "reason": f"{found['video_id']}, asked for ahead of {len(videos)} videos: {reason}",
        }
    if not answered and (closed or silent):
        raise UserError(next(iter((closed | silent).values()))["reason"])
    return closed


def _try_site(videos: Sequence[Video], outcome: Callable[[Video], dict]) -> dict:
    """The note of the first of these videos that comes, or is refused as the others would be; else of a dead link, or where none
    of them got an answer, of the first. Empty where all were given up in an earlier run, and nobody was asked."""
    asked, dead, silent = 0, {}, {}
    for video in videos:
        found = outcome(video) | {"video_id": video.video_id}
        if "status" not in found or found.get("advice") not in (None, "", NETWORK):
            return found
        if found.get("advice") == NETWORK:
            silent = silent or found
        elif "advice" in found:
            dead = found
        asked += "advice" in found
        if asked == CANARIES:
            break
    return dead or silent
