"""Render a compilation of the demo corpus from its manifest: clips, title cards, side panels, music.

The random numbers of a song, a clip or a compilation depend only on `seed` and its id, so that any part can be rendered alone with
the same result.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.demo.music.general_midi import to_notes
from dataset_tools.demo.music.songs import Score, compose, synthesise
from dataset_tools.demo.render.cards import STYLES, side_panel, title_card
from dataset_tools.demo.render.choreography import choreograph
from dataset_tools.demo.render.lens import Lens
from dataset_tools.demo.render.props import OCCLUDERS
from dataset_tools.demo.render.scene import FRAMINGS, Scene, render
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.schema import Clip, Song, Video
from dataset_tools.lib.core.timebase import FPS, seconds_to_frames
from dataset_tools.lib.midi import write_midi
from dataset_tools.lib.video.video_io import X264, rgb_frames, write_clip

WIDTH, HEIGHT = 640, 360
SAMPLE_RATE = 44100
SONG_SECONDS = 60.0
FADE = 0.005  # seconds; prevents clicks where the music is cut
ENCODING = X264 | {"preset": "veryfast", "crf": "20", "g": "250"}  # key frames as rare as in downloaded videos


@dataclass(frozen=True, kw_only=True)
class CompilationVideo(Video):
    """A compilation to render."""

    panel_width: int
    """Width, in px, of the clips in the middle of the frame."""
    panels: str
    """Style of the panels beside them, one of `cards.STYLES`."""

    def __post_init__(self):
        super().__post_init__()
        if self.panels not in STYLES:
            raise ValueError(f"panels must be one of {', '.join(STYLES)}, found '{self.panels}'")
        if not 0 < self.panel_width <= WIDTH:
            raise ValueError(f"panel_width must be 1 to {WIDTH} px, found {self.panel_width}")


@dataclass(frozen=True, kw_only=True)
class CompilationClip(Clip):
    """A clip to render."""

    song_start: float
    """Second of the song at which the clip's music starts, not aligned with the beats."""

    def __post_init__(self):
        super().__post_init__()
        length = self.end - self.start if self.start is not None and self.end is not None else 0.0
        if not 0 <= self.song_start <= SONG_SECONDS - length:
            raise ValueError(
                f"song_start must be 0 s to {SONG_SECONDS - length:g} s, for a song has {SONG_SECONDS:g} s, found {self.song_start:g}"
            )


def derive_seed(seed: int, *names: str) -> int:
    """A 32-bit seed for the thing called `names`, independent of everything else that is rendered."""
    return int.from_bytes(hashlib.sha256("/".join((str(seed), *names)).encode()).digest()[:4], "big")


@lru_cache(maxsize=2)
def compose_song(song: Song, seed: int) -> Score:
    """The score of a song of the manifest, with its genre and tempo; everything else depends on the seed."""
    return compose(derive_seed(seed, song.song_id), song.genre, tempo=song.tempo, seconds=SONG_SECONDS)


def render_compilation(
    video: CompilationVideo, clips: list[CompilationClip], songs: dict[str, Song], folder: Path, *, seed: int,
    rendered: Callable[[], None] = lambda: None,
) -> int:  # fmt: skip
    """Write folder/media/<video_id>.mp4 and, for each clip, folder/truth/<clip_id>.npz. Returns the number of frames.

    Time between clips, or before the first, is filled with a title card. The video ends with its last clip. `rendered` is called
    after each clip.

    Truth: keypoints (T, N, 17, 3) float32, x px, y px of the whole frame, visibility 0, 1 or 2; beats and downbeats in seconds from
    the clip's start; song_start, the second of the song at which the clip starts; fps.
    """
    clips = sorted(clips, key=lambda clip: clip.start)
    total = seconds_to_frames(clips[-1].end)
    audio = np.zeros((2, total * SAMPLE_RATE // FPS), np.int16)
    for clip in clips:
        music = _cut_music(clip, songs[clip.song_id], seed)
        at = seconds_to_frames(clip.start) * SAMPLE_RATE // FPS
        audio[:, at : at + len(music)] = music

    def pictures() -> Iterator[np.ndarray]:
        shown = 0
        for clip in clips:
            gap = seconds_to_frames(clip.start) - shown
            if gap:
                card = title_card(_rng(seed, clip.clip_id, "card"), songs[clip.song_id].title, (WIDTH, HEIGHT))
                yield from (card for _ in range(gap))
            keypoints = []
            for image, people in render_clip(video, clip, songs[clip.song_id], seed=seed):
                keypoints.append(people)
                yield image
            shown += gap + len(keypoints)
            _write_truth(folder / "truth" / f"{clip.clip_id}.npz", clip, songs[clip.song_id], keypoints, seed)
            rendered()

    with atomic_write(folder / "media" / f"{video.video_id}.mp4") as temporary:
        return write_clip(temporary, rgb_frames(pictures()), audio, SAMPLE_RATE, audio_codec="aac", options=ENCODING)


def render_clip(
    video: CompilationVideo, clip: CompilationClip, song: Song, *, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (whole frame (360, 640, 3) uint8 RGB, keypoints (N, 17, 3) in its px) for each frame of a clip."""
    rng = _rng(seed, clip.clip_id)
    count = clip.dancers or 1
    width, left = video.panel_width, (WIDTH - video.panel_width) // 2
    framing = str(rng.choice(FRAMINGS, p=[0.85, 0.06, 0.05, 0.04]))
    occluder = str(rng.choice(OCCLUDERS)) if rng.random() < 0.2 else None
    # the camera usually moves a little, as in real videos from a hand-held phone
    moving = rng.random() < 0.6
    scene = Scene.random(rng, width, HEIGHT, count, framing=framing, occluder=occluder, moving=moving)
    lens = Lens.random(rng)
    frames = seconds_to_frames(clip.end - clip.start)
    score, first = compose_song(song, seed), clip.song_start
    angles = np.stack(
        [
            choreograph(
                score, first, first + frames / FPS, move_seed=derive_seed(seed, clip.clip_id, "routine"),
                seed=derive_seed(seed, clip.clip_id, f"dancer{n}"),
            )
            for n in range(count)
        ],
        axis=1,
    )  # fmt: skip
    grain = _rng(seed, clip.clip_id, "grain")
    canvas = None
    for k, pose in enumerate(angles):
        image, keypoints = render(scene, pose, k / FPS)
        image = lens.expose(grain, image)
        if canvas is None:
            canvas = _draw_panels(video, image, seed)
        canvas[:, left : left + width] = image
        moved = keypoints + (left, 0, 0)
        yield canvas.copy(), np.where(keypoints[..., 2:] > 0, moved, 0).astype(np.float32)


def _draw_panels(video: CompilationVideo, first_image: np.ndarray, seed: int) -> np.ndarray:
    """A whole frame (360, 640, 3) uint8 with only the two side panels, which do not change during a clip."""
    left = (WIDTH - video.panel_width) // 2
    right = WIDTH - left - video.panel_width
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for side, (width, area) in enumerate(((left, np.s_[:, :left]), (right, np.s_[:, WIDTH - right :]))):
        rng = _rng(seed, video.video_id, "panels")
        canvas[area] = side_panel(rng, video.panels, (width, HEIGHT), side, first_image)
    return canvas


def _cut_music(clip: CompilationClip, song: Song, seed: int) -> np.ndarray:
    """The part of the song in the clip, (S,) int16, a whole number of frames long."""
    frames = seconds_to_frames(clip.end - clip.start)
    first = round(clip.song_start * SAMPLE_RATE)
    music = _synthesise_song(song, seed)[first : first + frames * SAMPLE_RATE // FPS].astype(np.float64)
    ramp = np.minimum(1, np.arange(len(music)) / (FADE * SAMPLE_RATE))
    return np.round(32767 * music * ramp * ramp[::-1]).astype(np.int16)


@lru_cache(maxsize=32)
def _synthesise_song(song: Song, seed: int) -> np.ndarray:
    return synthesise(compose_song(song, seed), SAMPLE_RATE)


def write_score(path: Path, song: Song, seed: int) -> None:
    """Write a song's whole score as General MIDI, with its times, and bar lines at its downbeats."""
    score = compose_song(song, seed)
    write_midi(path, to_notes(score), score.tempo, float(score.beats[0]))


def _write_truth(path: Path, clip: CompilationClip, song: Song, keypoints: list[np.ndarray], seed: int) -> None:
    score, seconds = compose_song(song, seed), len(keypoints) / FPS
    inside: dict[str, Any] = {
        name: times[(times >= clip.song_start) & (times < clip.song_start + seconds)] - clip.song_start
        for name, times in (("beats", score.beats), ("downbeats", score.downbeats))
    }
    with atomic_write(path) as temporary:
        np.savez(
            temporary,
            keypoints=np.stack(keypoints),
            fps=np.int64(FPS),
            song_start=np.float64(clip.song_start),
            **inside,
        )


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, *names))
