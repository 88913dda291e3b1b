"""A film and what sites make of it, for the tests of films that come in pieces."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from tests.helpers.footage import RATE, click

FLASHES = (0.4, 1.1, 1.9, 2.6)  # seconds of a film of 3 s, each with a click
FRAGMENTS = ["-movflags", "frag_keyframe+empty_moov+default_base_moof"]


def ffmpeg(*args):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *map(str, args)], check=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A film with its clicks on its flashes, and what sites make of it: {name: bytes}."""
    folder = tmp_path_factory.mktemp("film")
    bright = {round(at * 30) for at in FLASHES}
    pictures = (np.full((48, 64, 3), 230 if k in bright else 20 + k % 40, np.uint8) for k in range(90))
    audio = sum(click(3, at) for at in FLASHES)
    options = {"preset": "ultrafast", "crf": "18", "g": "30", "bf": "0", "x264-params": "threads=1"}
    film = folder / "film.mp4"
    write_clip(film, rgb_frames(pictures), audio, RATE, audio_codec="aac", options=options)
    ffmpeg("-i", film, "-map", "0:v", "-c", "copy", *FRAGMENTS, folder / "v.mp4")
    ffmpeg("-i", film, "-map", "0:a", "-c", "copy", *FRAGMENTS, folder / "a.mp4")
    for name, streams in (("both", ["-map", "0"]), ("v", ["-map", "0:v"]), ("a", ["-map", "0:a"])):
        hls = ["-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod"]
        fmp4 = ["-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", f"{name}-init.m4s"]
        ffmpeg(
            "-i",
            film,
            *streams,
            *hls,
            *fmp4,
            "-hls_segment_filename",
            folder / f"{name}%d.m4s",
            folder / f"{name}.m3u8",
        )
        ffmpeg("-i", film, *streams, *hls, "-hls_segment_filename", folder / f"{name}%d.ts", folder / f"{name}-ts.m3u8")
    other = ["-c:v", "libx264", "-bf", "2", "-profile:v", "high", "-s", "96x64", "-c:a", "aac", *FRAGMENTS]
    ffmpeg("-i", film, *other, folder / "other.mp4")
    return {path.name: path.read_bytes() for path in folder.iterdir()}
