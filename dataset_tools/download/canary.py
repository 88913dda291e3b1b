"""Fetch one video before many, so that a failure that would hit all videos, or all of a site, happens only once."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from dataset_tools.download.classify import NETWORK
from dataset_tools.download.dead_links import host_of
from dataset_tools.lib.core.errors import UserError, one_line
from dataset_tools.lib.core.schema import Video

MANY = 20  # one video goes first if there are more than this
CANARIES = 3  # videos tried per site, if the first are dead links or get no answer
SITES = 10  # if so many sites do not answer, the network is assumed to be down


def send_canaries(videos: Sequence[Video], outcome: Callable[[Video], dict]) -> dict[str, dict]:
    """Fetch one video (a few if the first are dead links) from the site with the most videos, and from each other site with more
    than `MANY`. `outcome` fetches a video and returns a note of `video_cache`.

    Returns {site: {"status", "reason"}} of the sites that would refuse all their videos, for example because they take this machine
    for a robot. A site that does not answer may be gone and is not among them. Raises UserError if no site answers.
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
            "reason": f"{found['video_id']}, requested before {len(videos)} videos: {reason}",
        }
    if not answered and (closed or silent):
        raise UserError(next(iter((closed | silent).values()))["reason"])
    return closed


def _try_site(videos: Sequence[Video], outcome: Callable[[Video], dict]) -> dict:
    """Note of the first video that is fetched, or refused as the others would be; otherwise of a dead link; otherwise, if the site
    does not answer, of the first video. Empty if all were given up in an earlier run, so that none was requested."""
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
