"""Convert frames of high dynamic range (PQ or HLG, as phones record) to the standard range, BT.709, by tone mapping."""

from functools import lru_cache
from threading import Lock

import av
from av.video.reformatter import ColorTrc

HIGH_RANGE = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
SCALE_OPTIONS = "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt709:out_range=tv:intent=perceptual"
_graph_lock = Lock()  # a filter graph processes one frame at a time


def to_standard_range(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame of high dynamic range as yuv420p in BT.709, without its side data. Other frames are returned unchanged.

    libswscale maps tones and gamut. Its table takes seconds to compute, once for each size and colour space.
    """
    if frame.color_trc not in HIGH_RANGE:
        return frame
    with _graph_lock:
        kind = (frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range)
        graph = _graph(frame.width, frame.height, frame.format.name, kind)
        graph.push(frame)
        return graph.pull()


@lru_cache(maxsize=2)
def _graph(width: int, height: int, form: str, _kind: tuple) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add("buffer", f"video_size={width}x{height}:pix_fmt={form}:time_base=1/1000:pixel_aspect=1/1")
    graph.link_nodes(source, graph.add("scale", SCALE_OPTIONS), graph.add("format", "yuv420p"), graph.add("buffersink"))
    graph.configure()
    return graph
