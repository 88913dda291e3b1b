"""A media file opened: which of its streams a player plays, where its clock begins, what it says about itself.

Time is seconds of the player's clock: 0 is where the container starts.
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

# Containers that hold their own pictures and sound. Playlists (HLS, ffconcat, DASH), scripts and numbered pictures are not
# among them: FFmpeg knows them by the file's name too, and opens what they name, anywhere on the machine. A single picture is one
# frame (the *_pipe formats), which whoever wants a dance refuses.
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
"""A sound with one of these flags is heard only by who asks for it."""
NOT_THE_VIDEO = (
    Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent
)
"""A picture with one of these is a cover, a preview or a part of another one."""
MAX_STEP_BACK = 0.5  # seconds by which time stamps may go back in the file; more are another film's
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what only a disk that is written to says


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a file says about itself."""

    width: int
    """Pixels as stored, before rotation."""
    height: int
    pixel_aspect: float
    """Width of a pixel over its height, as stored; 1 in nearly all footage."""
    fps: float
    """Average frames a second; an estimate where the rate varies."""
    seconds: float
    """Duration as the container claims it; 0 where it does not say."""
    has_audio: bool
    """Whether there is a sound that can be decoded."""
    undecodable_audio: bool
    """Whether there is a sound, but none that can be decoded."""
    sample_rate: int
    """Samples a second of the sound; 0 without sound."""
    sound_drift: float | None
    """Length of the sound over that of the picture, minus 1; None without sound or where the file does not say."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When the pictures of a file come, by the time stamps of all its packets."""

    end: float
    """Second at which the last frame stops being shown."""
    gaps: tuple[tuple[float, float], ...]
    """Seconds from and to which a single frame is shown for more than `STANDSTILL`."""


class NotEnoughMemory(UserError):
    """This machine lacks the memory to read a file: nothing is known of the file."""


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a file for reading, and no other file that it may name. What FFmpeg cannot read, here or inside the block, becomes a
    UserError of one line, NoMemory where memory ran out; that the disk is full, of who writes inside the block, stays what it is."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: file not found")
    check_boxes(path)
    try:
        with _open(path) as container:
            yield container
    except (av.error.FFmpegError, UnicodeDecodeError) as err:
        if getattr(err, "errno", None) in DISK_FULL:
            raise
        if getattr(err, "errno", None) == errno.ENOMEM:
            raise NotEnoughMemory(
                f"{path.name}: there is not enough memory to read it: stop other programs, or use fewer workers"
            ) from None
        reason = getattr(err, "strerror", None) or str(err)
        raise UserError(f"{path.name}: not a readable video: {reason}") from None


def _open(path: Path) -> av.container.InputContainer:
    try:
        return av.open(f"file:{path}", metadata_errors="replace", options=OPEN_OPTIONS)
    except av.error.ArgumentError:
        raise UserError(
            f"{path.name}: not a readable video: a playlist or a script, which leads to other files"
        ) from None


def iterate_packets(container, path: Path, *streams) -> Iterator[av.Packet]:
    """All packets of an opened file, or of some of its streams. Raises UserError beyond `VIDEO_PACKETS` of them."""
    for number, packet in enumerate(container.demux(*streams)):
        if number > VIDEO_PACKETS:
            raise UserError(
                f"{Path(path).name}: it has over {VIDEO_PACKETS} packets, more than a film of a day; encode it anew"
            )
        yield packet


def probe(path: Path) -> VideoInfo:
    """Read a file's header. Raises UserError where it is unreadable or has no film that can be decoded."""
    with open_media(path) as container:
        video = find_video_stream(container, path)
        sounds = find_audio_streams(container)
        width, height = _frame_size(container, video, path)
        return VideoInfo(
            width=width,
            height=height,
            pixel_aspect=float(video.sample_aspect_ratio or 1),
            fps=round(float(video.average_rate or video.guessed_rate or 0), 3),
            seconds=round(float(container.duration / av.time_base if container.duration else 0), 3),
            has_audio=bool(sounds),
            undecodable_audio=bool(container.streams.audio and not sounds),
            sample_rate=sounds[0].codec_context.sample_rate if sounds else 0,
            sound_drift=_audio_drift(video, sounds[0]) if sounds else None,
        )


def _frame_size(container, video, path: Path) -> tuple[int, int]:
    """(width, height) of the picture: the header's, or where it is damaged that of the first picture that can be decoded."""
    if video.codec_context.width and video.codec_context.height:
        return video.codec_context.width, video.codec_context.height
    for packet in iterate_packets(container, path, video):
        try:
            if frames := packet.decode():
                return frames[0].width, frames[0].height
        except av.FFmpegError:
            continue
    raise UserError(f"{Path(path).name}: none of its pictures can be decoded")


def read_timeline(path: Path) -> Timeline:
    """Look at every packet of the picture (no decoding). Raises UserError as `probe`, and where there is no frame or the
    time stamps go back, as where one film was put behind another: nothing then says which sound goes with which picture."""
    with open_media(path) as container:
        stream = find_video_stream(container, path)
        unit, zero, name = float(stream.time_base), start_time(container), Path(path).name
        back, still = MAX_STEP_BACK / unit, STANDSTILL / unit
        end, newest, decoded, gaps = None, zero / unit, None, []
        for packet in container.demux(stream):
            if packet.dts is not None:
                if decoded is not None and packet.dts < decoded - back:
                    raise UserError(
                        f"{name}: its time stamps go back, from {decoded * unit - zero:.3f} to {packet.dts * unit - zero:.3f} s, as "
                        "where two films were put one after the other; join them with `ffmpeg -f concat`, or cut the file there"
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
            raise UserError(f"{name}: not a readable video: it holds no frames")
        if end > newest + still:
            gaps.append((newest * unit - zero, end * unit - zero))
        return Timeline(end=end * unit - zero, gaps=tuple(gaps))


def find_video_stream(container, path: Path) -> av.VideoStream:
    """The stream with the film: no cover, and the one that players show where there are several. Raises UserError."""
    films = [stream for stream in container.streams.video if not stream.disposition & NOT_THE_VIDEO]
    known = [stream for stream in films if stream.codec_context is not None]
    if known:
        return max(known, key=lambda stream: (stream.frames != 1, bool(stream.disposition & Disposition.default)))
    if films:
        why = "FFmpeg does not know how its picture is coded; convert it first"
    elif container.streams.video:
        why = "its only picture is a cover"
    else:
        why = "it has no video stream"
    raise UserError(f"{Path(path).name}: not a readable video: {why}")


def find_audio_streams(container) -> list[av.AudioStream]:
    """The sounds that can be decoded, the one first that players play."""
    known = [stream for stream in container.streams.audio if stream.codec_context is not None]
    least, most = AUDIO_RATES
    heard = [
        s
        for s in known
        if least <= s.codec_context.sample_rate <= most and 1 <= s.codec_context.channels <= AUDIO_CHANNELS
    ]
    return sorted(
        heard,
        key=lambda stream: (not stream.disposition & Disposition.default, bool(stream.disposition & ALTERNATIVE_AUDIO)),
    )


def start_time(container) -> float:
    """Time stamp, in seconds, at which a player's clock says 0. Sound codecs' run-up before 0 does not count."""
    return max(0.0, (container.start_time or 0) / av.time_base)


def _audio_drift(video, sound) -> float | None:
    if not (video.duration and sound.duration):
        return None
    return round(float(sound.duration * sound.time_base / (video.duration * video.time_base)) - 1, 5)
