"""Open media files: which streams a player would choose, where its clock starts, and what the header says.

Times are seconds of the player's clock, which is 0 where the container starts.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.stream import Disposition

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import AUDIO_CHANNELS, AUDIO_RATES, STANDSTILL, VIDEO_PACKETS
from dataset_tools.lib.video.boxes import check_boxes

# Containers with their own video and audio data. Playlists (HLS, ffconcat, DASH), scripts and numbered images are not among them:
# FFmpeg would open the files that they refer to, anywhere on the machine. A still image (the *_pipe formats) is a video of one
# frame; stages that need a dance refuse it.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,apng,asf,au,av1,avi,avs2,avs3,caf,cavsvideo,dirac,dsf,dts,dv,eac3,flac,flv,gif,gxf,h261,h263,"
    "h264,hevc,iff,ivf,live_flv,m4v,matroska,mjpeg,mov,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,smjpeg,sox,"
    "swf,tak,truehd,tta,vc1,voc,vvc,w64,wav,wtv,wv,yuv4mpegpipe,bmp_pipe,jpeg_pipe,png_pipe,tiff_pipe,webp_pipe"
)
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
ALTERNATIVE_AUDIO = (
    Disposition.dub | Disposition.comment | Disposition.karaoke | Disposition.hearing_impaired | Disposition.visual_impaired
    | Disposition.clean_effects | Disposition.descriptions | Disposition.dependent
)  # fmt: skip
"""Flags of audio streams that players play only on request."""
NOT_THE_VIDEO = (
    Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent
)
"""Flags of video streams that are a cover, a preview or a part of another stream."""
MAX_STEP_BACK = 0.5  # seconds by which timestamps may decrease in a file; more means that another video follows
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors that only writing raises


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Header data of a video file."""

    width: int
    """Pixels as stored, before rotation."""
    height: int
    pixel_aspect: float
    """Width of a pixel over its height, as stored; 1 in nearly all footage."""
    fps: float
    """Average frames per second; an estimate if the rate varies."""
    seconds: float
    """Duration according to the container; 0 if it gives none."""
    has_audio: bool
    """Whether there is an audio stream that can be decoded."""
    undecodable_audio: bool
    """Whether there are audio streams, but none that can be decoded."""
    sample_rate: int
    """Audio samples per second; 0 without audio."""
    sound_drift: float | None
    """Duration of the audio divided by the duration of the video, minus 1. None without audio or if the file does not give both."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When the frames of a file are shown, by the timestamps of all its packets."""

    end: float
    """End of the last frame, in seconds."""
    gaps: tuple[tuple[float, float], ...]
    """(start, end), in seconds, of each frame that is shown for more than `STANDSTILL` seconds."""


class NotEnoughMemory(UserError):
    """This machine has not enough memory to read a file; the file itself may be fine."""


@contextmanager
def open_media(path: Path, wanted: str = "video") -> Iterator[av.container.InputContainer]:
    """Open a file for reading, and no other file that it may refer to. wanted: what the caller reads it as, for the messages.

    Errors of FFmpeg, here or inside the block, become a UserError of one line, or NotEnoughMemory. Errors of a full disk, if the
    block writes a file, are passed on.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: file not found")
    check_boxes(path)
    try:
        with _open(path, wanted) as container:
            yield container
    except (av.error.FFmpegError, UnicodeDecodeError) as err:
        if getattr(err, "errno", None) in DISK_FULL:
            raise
        if getattr(err, "errno", None) == errno.ENOMEM:
            raise NotEnoughMemory(
                f"{path.name}: there is not enough memory to read it: stop other programs, or use fewer workers"
            ) from None
        reason = getattr(err, "strerror", None) or str(err)
        raise UserError(f"{path.name}: not a readable {wanted}: {reason}") from None


def _open(path: Path, wanted: str) -> av.container.InputContainer:
    try:
        return av.open(f"file:{path}", metadata_errors="replace", options=OPEN_OPTIONS)
    except av.error.ArgumentError:
        raise UserError(
            f"{path.name}: not a readable {wanted}: a playlist or a script, which leads to other files"
        ) from None


def iterate_packets(container, path: Path, *streams) -> Iterator[av.Packet]:
    """Yield all packets of an open file, or of some of its streams. Raises UserError after `VIDEO_PACKETS` packets."""
    for number, packet in enumerate(container.demux(*streams)):
        if number > VIDEO_PACKETS:
            raise UserError(
                f"{Path(path).name}: it has over {VIDEO_PACKETS} packets, more than a video of a day; re-encode it"
            )
        yield packet


def probe(path: Path) -> VideoInfo:
    """Read a file's header. Raises UserError if it is unreadable or has no video stream that can be decoded."""
    with open_media(path) as container:
        video = find_video_stream(container, path)
        audio = find_audio_streams(container)
        width, height = _frame_size(container, video, path)
        return VideoInfo(
            width=width,
            height=height,
            pixel_aspect=float(video.sample_aspect_ratio or 1),
            fps=round(float(video.average_rate or video.guessed_rate or 0), 3),
            seconds=round(float(container.duration / av.time_base if container.duration else 0), 3),
            has_audio=bool(audio),
            undecodable_audio=bool(container.streams.audio and not audio),
            sample_rate=audio[0].codec_context.sample_rate if audio else 0,
            sound_drift=_audio_drift(video, audio[0]) if audio else None,
        )


def _frame_size(container, video, path: Path) -> tuple[int, int]:
    """(width, height) of the frames from the header or, if that is damaged, of the first frame that can be decoded."""
    if video.codec_context.width and video.codec_context.height:
        return video.codec_context.width, video.codec_context.height
    for packet in iterate_packets(container, path, video):
        try:
            if frames := packet.decode():
                return frames[0].width, frames[0].height
        except av.FFmpegError:
            continue
    raise UserError(f"{Path(path).name}: none of its frames can be decoded")


def read_timeline(path: Path) -> Timeline:
    """Read the timestamps of all video packets, without decoding.

    Raises UserError as `probe`, for a file without frames, and for timestamps that decrease, as in two concatenated videos: it
    is then unknown which audio belongs to which frames.
    """
    with open_media(path) as container:
        stream = find_video_stream(container, path)
        unit, zero, name = float(stream.time_base), start_time(container), Path(path).name
        back, still = MAX_STEP_BACK / unit, STANDSTILL / unit
        end, newest, decoded, gaps = None, zero / unit, None, []
        for packet in container.demux(stream):
            if packet.dts is not None:
                if decoded is not None and packet.dts < decoded - back:
                    raise UserError(
                        f"{name}: its timestamps go back, from {decoded * unit - zero:.3f} to {packet.dts * unit - zero:.3f} s, as "
                        "in two videos that were put one after the other; join them with `ffmpeg -f concat`, or cut the file there"
                    )
                decoded = packet.dts
            at = packet.pts
            if at is None:
                continue
            if at > newest + still:
                gaps.append((newest * unit - zero, at * unit - zero))
            newest = max(newest, at)
            until = at + (packet.duration or 0)
            if end is None or until > end:
                end = until
        if end is None:
            raise UserError(f"{name}: not a readable video: it has no frames")
        if end > newest + still:
            gaps.append((newest * unit - zero, end * unit - zero))
        return Timeline(end=end * unit - zero, gaps=tuple(gaps))


def find_video_stream(container, path: Path) -> av.VideoStream:
    """The video stream that players show: no cover or preview. Raises UserError if there is none that can be decoded."""
    streams = [stream for stream in container.streams.video if not stream.disposition & NOT_THE_VIDEO]
    known = [stream for stream in streams if stream.codec_context is not None]
    if known:
        return max(known, key=lambda stream: (stream.frames != 1, bool(stream.disposition & Disposition.default)))
    if streams:
        why = "FFmpeg does not know its video codec; convert it first"
    elif container.streams.video:
        why = "its only video stream is a cover"
    else:
        why = "it has no video stream"
    raise UserError(f"{Path(path).name}: not a readable video: {why}")


def find_audio_streams(container) -> list[av.AudioStream]:
    """The audio streams that can be decoded; first the one that players play."""
    known = [stream for stream in container.streams.audio if stream.codec_context is not None]
    least, most = AUDIO_RATES
    usable = [
        s
        for s in known
        if least <= s.codec_context.sample_rate <= most and 1 <= s.codec_context.channels <= AUDIO_CHANNELS
    ]
    return sorted(
        usable,
        key=lambda stream: (not stream.disposition & Disposition.default, bool(stream.disposition & ALTERNATIVE_AUDIO)),
    )


def start_time(container) -> float:
    """Timestamp, in seconds, at which a player's clock is 0. Audio that starts before 0 (a codec's priming samples) does not count."""
    return max(0.0, (container.start_time or 0) / av.time_base)


def _audio_drift(video, audio) -> float | None:
    if not (video.duration and audio.duration):
        return None
    return round(float(audio.duration * audio.time_base / (video.duration * video.time_base)) - 1, 5)
