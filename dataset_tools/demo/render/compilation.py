"""Render one compilation of the demo corpus as its manifest describes it: clips, title cards, side panels, music.

Everything follows from the manifest and one seed: `seed` and an id give the random numbers of a song, a clip or a
compilation, so any part can be rendered alone and comes out the same.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.demo.music.general_midi import notes_of
from dataset_tools.demo.music.songs import Score, compose, synthesise
from dataset_tools.demo.render.cards import STYLES, side_panel, title_card
from dataset_tools.demo.render.choreography import choreograph
from dataset_tools.demo.render.lens import Lens
from dataset_tools.demo.render.props import OCCLUDERS
from dataset_tools.demo.render.scene import FRAMINGS, Scene, render
from dataset_tools.lib.core.atomic import write_aside
from dataset_tools.lib.core.schema import Clip, Song, Video
from dataset_tools.lib.core.timebase import FPS, seconds_to_frames
from dataset_tools.lib.midi import write_midi
from dataset_tools.lib.video.video_io import X264, rgb_frames, write_clip

WIDTH, HEIGHT = 640, 360
SAMPLE_RATE = 44100
SONG_SECONDS = 60.0
FADE = 0.005  # seconds: music is cut hard but without a click
ENCODING = X264 | {"preset": "veryfast", "crf": "20", "g": "250"}  # key frames as rare as in downloaded videos


@dataclass(frozen=True, kw_only=True)
class CompilationVideo(Video):
    """A compilation to render."""

    panel_width: int
    """Width in px of the picture in the middle of the frame."""
    panels: str
    """What stands beside it, one of `cards.STYLES`."""

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
    """Second of the song that the clip's music begins at; anywhere, not on a beat."""

    def __post_init__(self):
        super().__post_init__()
        length = self.end - self.start if self.start is not None and self.end is not None else 0.0
        if not 0 <= self.song_start <= SONG_SECONDS - length:
            raise ValueError(
                f"song_start must be 0 s to {SONG_SECONDS - length:g} s, for a song has {SONG_SECONDS:g} s, found {self.song_start:g}"
            )


def seed_of(seed: int, *names: str) -> int:
    """A 32-bit seed for one thing, the same whatever else is rendered."""
    return int.from_bytes(hashlib.sha256("/".join((str(seed), *names)).encode()).digest()[:4], "big")


@lru_cache(maxsize=2)
def score_of(song: Song, seed: int) -> Score:
    """The score of a song of the manifest: its genre and tempo, the rest from the seed."""
    return compose(seed_of(seed, song.song_id), song.genre, tempo=song.tempo, seconds=SONG_SECONDS)


def render_compilation(
    video: CompilationVideo, clips: list[CompilationClip], songs: dict[str, Song], folder: Path, *, seed: int,
    rendered: Callable[[], None] = lambda: None,
) -> int:  # fmt: skip
    """Write folder/media/<video_id>.mp4 and folder/truth/<clip_id>.npz for its clips; return the number of frames.

    Where the manifest leaves time between clips, or before the first, a title card stands. The video ends with its
    last clip. `rendered` is called after each clip. Truth: keypoints (T, N, 17, 3) float32 x px, y px of the whole frame,
    visibility 0, 1 or 2; beats and downbeats in seconds from the clip's start; song_start, the second of the song at which
    the clip starts; fps.
    """
    clips = sorted(clips, key=lambda clip: clip.start)
    total = seconds_to_frames(clips[-1].end)
    sound = np.zeros((2, total * SAMPLE_RATE // FPS), np.int16)
    for clip in clips:
        music = _music(clip, songs[clip.song_id], seed)
        at = seconds_to_frames(clip.start) * SAMPLE_RATE // FPS
        sound[:, at : at + len(music)] = music

    def pictures() -> Iterator[np.ndarray]:
        shown = 0
        for clip in clips:
            gap = seconds_to_frames(clip.start) - shown
            if gap:
                card = title_card(_rng(seed, clip.clip_id, "card"), songs[clip.song_id].title, (WIDTH, HEIGHT))
                yield from (card for _ in range(gap))
            keypoints = []
            for image, people in clip_frames(video, clip, songs[clip.song_id], seed=seed):
                keypoints.append(people)
                yield image
            shown += gap + len(keypoints)
            _write_truth(folder / "truth" / f"{clip.clip_id}.npz", clip, songs[clip.song_id], keypoints, seed)
            rendered()

    with write_aside(folder / "media" / f"{video.video_id}.mp4") as aside:
        return write_clip(aside, rgb_frames(pictures()), sound, SAMPLE_RATE, audio_codec="aac", options=ENCODING)


def clip_frames(
    video: CompilationVideo, clip: CompilationClip, song: Song, *, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(whole frame (360, 640, 3) uint8 RGB, keypoints (N, 17, 3) in its px) of a clip, frame after frame."""
    rng = _rng(seed, clip.clip_id)
    count = clip.dancers or 1
    width, left = video.panel_width, (WIDTH - video.panel_width) // 2
    framing = str(rng.choice(FRAMINGS, p=[0.85, 0.06, 0.05, 0.04]))
    occluder = str(rng.choice(OCCLUDERS)) if rng.random() < 0.2 else None
    # the hand that holds the phone moves more often than not, as in the real videos
    moving = rng.random() < 0.6
    scene = Scene.random(rng, width, HEIGHT, count, framing=framing, occluder=occluder, moving=moving)
    lens = Lens.random(rng)
    frames = seconds_to_frames(clip.end - clip.start)
    score, first = score_of(song, seed), clip.song_start
    angles = np.stack(
        [
            choreograph(
                score, first, first + frames / FPS, move_seed=seed_of(seed, clip.clip_id, "routine"),
                seed=seed_of(seed, clip.clip_id, f"dancer{n}"),
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
            canvas = _surroundings(video, image, seed)
        canvas[:, left : left + width] = image
        moved = keypoints + (left, 0, 0)
        yield canvas.copy(), np.where(keypoints[..., 2:] > 0, moved, 0).astype(np.float32)


def _surroundings(video: CompilationVideo, first_image: np.ndarray, seed: int) -> np.ndarray:
    """The whole frame of a clip with its two side panels, still for the whole clip."""
    left = (WIDTH - video.panel_width) // 2
    right = WIDTH - left - video.panel_width
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for side, (width, area) in enumerate(((left, np.s_[:, :left]), (right, np.s_[:, WIDTH - right :]))):
        rng = _rng(seed, video.video_id, "panels")
        canvas[area] = side_panel(rng, video.panels, (width, HEIGHT), side, first_image)
    return canvas


def _music(clip: CompilationClip, song: Song, seed: int) -> np.ndarray:
    """(S,) int16: the stretch of the song that the clip plays, S whole frames long."""
    frames = seconds_to_frames(clip.end - clip.start)
    first = round(clip.song_start * SAMPLE_RATE)
    music = _synthesised(song, seed)[first : first + frames * SAMPLE_RATE // FPS].astype(np.float64)
    ramp = np.minimum(1, np.arange(len(music)) / (FADE * SAMPLE_RATE))
    return np.round(32767 * music * ramp * ramp[::-1]).astype(np.int16)


@lru_cache(maxsize=32)
def _synthesised(song: Song, seed: int) -> np.ndarray:
    return synthesise(score_of(song, seed), SAMPLE_RATE)


def write_score(path: Path, song: Song, seed: int) -> None:
    """Write a song's whole score as General MIDI: its times are the song's, its bar lines are its down-beats."""
    score = score_of(song, seed)
    write_midi(path, notes_of(score), score.tempo, float(score.beats[0]))


def _write_truth(path: Path, clip: CompilationClip, song: Song, keypoints: list[np.ndarray], seed: int) -> None:
    score, seconds = score_of(song, seed), len(keypoints) / FPS
    inside: dict[str, Any] = {
        name: times[(times >= clip.song_start) & (times < clip.song_start + seconds)] - clip.song_start
        for name, times in (("beats", score.beats), ("downbeats", score.downbeats))
    }
    with write_aside(path) as aside:
        np.savez(
            aside, keypoints=np.stack(keypoints), fps=np.int64(FPS), song_start=np.float64(clip.song_start), **inside
        )


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng(seed_of(seed, *names))
