"""Writes the study's media files. No name, tag, length or size reveals which system made the music.

Files for coherence are MP4 (the clip's picture with AAC audio); those for quality and headphones are 16-bit WAV. All files of a
clip have the same length and size: MP4s are padded with a `free` box, which players skip. Names are keyed hashes.
"""

import hmac
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from d2m_model.generate.finish import write_wav
from d2m_model.generate.mux import mux
from d2m_model.listen import study_audio
from d2m_model.listen.design import SCALE, Stimulus
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE
from dataset_tools.lib.video.video_io import nearest_frames, rgb_frames, timed_frames, write_clip


def file_name(secret: str, stimulus: Stimulus) -> str:
    """A file name that reveals nothing: 24 hex digits of an HMAC, and a suffix that depends on the task only."""
    digest = hmac.new(secret.encode(), stimulus.name.encode(), "sha256").hexdigest()[:24]
    return digest + (".mp4" if stimulus.task == "coherence" else ".wav")


def write_media(
    folder: Path, secret: str, stimuli: list[Stimulus], music: Callable[[str, str], np.ndarray],
    video: Path | None = None, frames: int = 0,
) -> None:  # fmt: skip
    """Write the files of the stimuli of one clip, or of the headphone test. If all exist, nothing is written, else all are.

    music: (system, clip) -> audio (S,), cut and at the study's loudness. video, frames: the clip's MP4 and number of its frames to
    show.
    """
    wanted = {s: folder / file_name(secret, s) for s in stimuli}
    if all(path.exists() for path in wanted.values()):
        return
    picture, captioned = folder / ".picture.mp4", folder / ".captioned.mp4"
    shown = list(nearest_frames(timed_frames(video), 0.0, frames)) if video else []
    if shown:
        write_clip(picture, shown, None)
    drafts = {s: path.with_name(f".draft-{path.name}") for s, path in wanted.items()}
    for stimulus, draft in drafts.items():
        if stimulus.task == "headphones":
            _write_stereo(
                draft,
                study_audio.headphone_audio((int(stimulus.clip[0]), int(stimulus.clip[1]), int(stimulus.clip[2]))),
            )
            continue
        audio = music(stimulus.system or study_audio.TRUTH, stimulus.clip)
        if stimulus.task == "quality":
            write_wav(draft, study_audio.counted_beeps(audio, stimulus.answer) if stimulus.answer else audio)
        elif stimulus.answer:
            texts = (_caption(frame.to_ndarray(format="rgb24"), stimulus.answer) for frame in shown)
            write_clip(captioned, rgb_frames(texts), None)
            mux(captioned, audio, draft)
        else:
            mux(picture, audio, draft)
    videos = [d for d in drafts.values() if d.suffix == ".mp4"]
    size = max((d.stat().st_size for d in videos), default=0) + 8  # the smallest box is 8 bytes
    for draft in videos:
        fill_up(draft, size)
    for stimulus, draft in drafts.items():
        draft.replace(wanted[stimulus])
    picture.unlink(missing_ok=True)
    captioned.unlink(missing_ok=True)


def fill_up(path: Path, size: int) -> None:
    """Append a `free` box (ISO 14496-12) so that an MP4 file has `size` bytes, at least 8 more than it has."""
    missing = size - path.stat().st_size
    assert missing >= 8, (path, missing)
    with open(path, "ab") as out:
        out.write(missing.to_bytes(4, "big") + b"free" + bytes(missing - 8))


def seconds_of(path: Path) -> float:
    """Length of a media file in seconds."""
    with av.open(str(path)) as media:
        return media.duration / av.time_base


def excerpt_frames(frames: int, seconds: float) -> int:
    """Number of frames to show of a clip: its beginning, at most `seconds`."""
    return min(frames, int(seconds * FPS))


def _write_stereo(path: Path, audio: np.ndarray) -> None:
    import soundfile

    with atomic_write(path) as aside:
        soundfile.write(aside, np.round(audio * 32767).astype(np.int16), SAMPLE_RATE, subtype="PCM_16", format="WAV")


def _caption(image: np.ndarray, answer: int) -> np.ndarray:
    """The frame (H, W, 3) uint8 with the required answer written across its middle."""
    height, width = image.shape[:2]
    image = np.ascontiguousarray(image)
    image[height * 3 // 8 : height * 5 // 8] = 255
    for line, text in enumerate(("Please answer", f"{answer} ({SCALE[answer]})")):
        (span, rise), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
        scale = min(0.9 * width / span, 0.09 * height / rise)
        place = (int((width - scale * span) / 2), int(height * (0.48 + 0.12 * line)))
        cv2.putText(
            image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), max(1, round(2 * scale)), cv2.LINE_AA
        )
    return image
