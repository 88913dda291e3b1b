"""Section `download` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `download` of params.yaml."""

    max_height: int = 720
    """Largest resolution: px of the shorter side, so that 720 means 720p, also in portrait format. If a site has only larger ones, the
    nearest is taken."""
    format: str = ""
    """A format expression of yt-dlp that replaces this choice and applies to all formats of the site."""
    workers: int = 2
    """Number of videos fetched at once, on a cluster those of one site; each has its own pauses."""
    retries: int = 10
    """Retries of one connection; yt-dlp as a library would not retry at all."""
    retry_wait: float = 0.5
    """Seconds before the first retry; doubled for each later one, at most 30."""
    attempts: int = 3
    """Attempts to fetch a video, if it fails with a transient error."""
    attempt_wait: float = 5.0
    """Seconds before the second attempt; doubled for each later one."""
    socket_timeout: float = 30.0
    """Seconds without a byte after which a connection counts as lost."""
    sleep_requests: float = 0.5
    """Seconds between requests for a site's pages, to be polite."""
    sleep_min: float = 5.0
    """Shortest pause before a download from the web, in seconds."""
    sleep_max: float = 10.0
    """Longest pause before a download from the web, in seconds."""
    cookies_file: str = ""
    """Netscape cookie file, relative to the working folder, for videos that need an account."""
    cookies_from_browser: str = ""
    """Name of a browser (firefox, chrome, …) whose cookies are used instead."""
    max_gb: float = 20.0
    """Largest size of a video, in GB, video and audio together. A larger download may be endless."""
    min_ok: float = 0.9
    """Fraction of the videos that must be ok."""

    def __post_init__(self):
        require(self.max_height >= 2, f"max_height must be at least 2 px, found {self.max_height}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.retries >= 0, f"retries must be at least 0, found {self.retries}")
        require(self.attempts >= 1, f"attempts must be at least 1, found {self.attempts}")
        require(min(self.retry_wait, self.attempt_wait) >= 0, "retry_wait and attempt_wait must be at least 0 s")
        require(self.socket_timeout > 0, f"socket_timeout must be above 0 s, found {self.socket_timeout}")
        require(self.max_gb > 0, f"max_gb must be above 0, found {self.max_gb}")
        require(self.sleep_requests >= 0, f"sleep_requests must be at least 0 s, found {self.sleep_requests}")
        require(0 <= self.sleep_min <= self.sleep_max, "0 <= sleep_min <= sleep_max must hold")
        require(
            not (self.cookies_file and self.cookies_from_browser), "give cookies_file or cookies_from_browser, not both"
        )
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")
