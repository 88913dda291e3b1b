"""One video ahead of many: what would hit all is met once, before anything is given up."""

from collections import Counter
from collections.abc import Callable, Sequence

from dataset_tools.base.errors import UserError, one_line
from dataset_tools.base.schema import Video
from dataset_tools.corpus.classify import NETWORK
from dataset_tools.corpus.dead_links import site

CANARIES = 3  # at most, where the first are dead links


def send_canaries(videos: Sequence[Video], outcome: Callable[[Video], dict]) -> None:
    """Fetch one of `videos` (a few, where the first are dead links), from the site that has most of them. `outcome` fetches a
    video and gives a note of `film_cache`.

    Raises UserError where it fails of what the others would meet too. A site that does not answer may be gone: then another one
    is asked, where there is one.
    """
    many = Counter(site(video.url) for video in videos)
    asked, silent = 0, {}  # site that did not answer -> what to say of it
    for video in sorted(videos, key=lambda v: -many[site(v.url)]):
        if asked == CANARIES or site(video.url) in silent:
            continue
        found = outcome(video)
        if "status" not in found:
            return
        asked += "advice" in found  # else it was given up in an earlier run, and nobody was asked
        if found.get("advice"):
            reason = f"{one_line(found['reason'])}; {found['advice']}"
            silent[site(video.url)] = f"{video.video_id}, asked for ahead of {len(videos)} videos: {reason}"
            if found["advice"] != NETWORK:
                break
    if silent:
        raise UserError(next(iter(silent.values())))
