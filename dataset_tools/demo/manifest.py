"""Write the manifest of the demo corpus, manifests/demo, from a seed: videos, clips and songs.

`python -m dataset_tools.demo.manifest` writes the files that are in the repository; the stage `sources` renders them.
"""

from pathlib import Path

import numpy as np

from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import compose
from dataset_tools.demo.render.compilation import SONG_SECONDS, CompilationClip, CompilationVideo, derive_seed
from dataset_tools.lib.core.cli import command_parser, run, say
from dataset_tools.lib.core.manifest import Manifest, save_manifest
from dataset_tools.lib.core.schema import Song
from dataset_tools.lib.core.timebase import FPS, seconds_to_frames

LAYOUTS = (
    (204, "stripes"),
    (270, "blur"),
    (204, "picture"),
    (360, "colour"),
)  # width of the clip in px, style of the panels
CLIPS_PER_VIDEO = 12
SONGS_PER_GENRE = 4  # the last of each genre is for the official test split
CLIP_SECONDS = (4.0, 5.0, 10.0)  # shortest, most frequent and longest clip
CARD_SECONDS = 1.0
TITLES = (
    "Night Bus", "Corner Store", "Slow Elevator", "Concrete Garden", "Paper Crown", "Sugar Weather", "Seventeen Again",
    "Postcard", "Mirror Room", "Silver Shoes", "Saturday Fever Dream", "Glitter Tax", "Warehouse Sunrise", "Four Walls",
    "Strobe Letter", "After Four", "Tape Machine", "Subway Sprint", "Broken Clock", "Rooftop Relay",
)  # fmt: skip


def plan_corpus(seed: int = 1) -> Manifest:
    """The manifest of 4 compilations with 12 clips each: 20 songs in 5 genres, one song of each genre for test.

    In every compilation three of the twelve clips have a test song, among them the second one, so that the first few clips of a
    compilation cover both official splits.
    """
    rng = np.random.default_rng(seed)
    songs = []
    for genre in GENRES:
        for n in range(SONGS_PER_GENRE):
            song_id = f"{genre}{n + 1}"
            tempo = compose(derive_seed(seed, song_id), genre, seconds=SONG_SECONDS).tempo
            songs.append(Song(song_id=song_id, genre=genre, tempo=tempo, title=TITLES[len(songs)], artist="demo"))
    held_out = [s for n, s in enumerate(songs) if n % SONGS_PER_GENRE == SONGS_PER_GENRE - 1]
    common = [s for s in songs if s not in held_out]
    videos, clips = [], []
    test, train = _cycle_shuffled(rng, held_out), _cycle_shuffled(rng, common)
    for v, (width, panels) in enumerate(LAYOUTS):
        video = CompilationVideo(
            video_id=f"comp{v}", url=f"media/comp{v}.mp4", title=f"Best rendered dances, part {v + 1}", panel_width=width,
            panels=panels,
        )  # fmt: skip
        videos.append(video)
        frame = seconds_to_frames(2 * CARD_SECONDS)
        for n in range(CLIPS_PER_VIDEO):
            is_test = n % 4 == 1
            length = seconds_to_frames(rng.triangular(*CLIP_SECONDS))
            seconds = length / FPS
            clips.append(
                CompilationClip(
                    clip_id=f"comp{v}_{n:02d}", video_id=video.video_id, song_id=next(test if is_test else train).song_id,
                    start=round(frame / FPS, 4), end=round((frame + length) / FPS, 4),
                    dancers=int(rng.choice([1, 2, 3], p=[0.6, 0.4, 0.0] if width < 240 else [0.5, 0.25, 0.25])),
                    official_split="test" if is_test else "train",
                    song_start=round(float(rng.uniform(3.0, SONG_SECONDS - seconds - 1.0)), 3),
                )
            )  # fmt: skip
            frame += length + (seconds_to_frames(CARD_SECONDS) if rng.random() < 0.3 else 0)
    return Manifest(folder=Path(), videos=tuple(videos), clips=tuple(clips), songs=tuple(songs))


def _cycle_shuffled(rng: np.random.Generator, songs: list[Song]):
    """Cycle through the songs for ever, in a new order each time, so that all are used about equally often."""
    while True:
        yield from (songs[k] for k in rng.permutation(len(songs)))


def main(argv: list[str] | None = None) -> int:
    """Write the manifest."""
    parser = command_parser("dataset_tools.demo.manifest", __doc__)
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other clips, songs and dancers")
    parser.add_argument(
        "--out", type=Path, default=Path("manifests/demo"), help="folder to write (default: manifests/demo)"
    )
    args = parser.parse_args(argv)
    made = plan_corpus(args.seed)
    save_manifest(made, args.out)
    seconds = sum(clip.end - clip.start for clip in made.clips)
    say(
        "manifest",
        f"{len(made.videos)} videos, {len(made.clips)} clips, {seconds:.0f} s, {len(made.songs)} songs in {args.out}",
    )
    return 0


if __name__ == "__main__":
    run(main)
