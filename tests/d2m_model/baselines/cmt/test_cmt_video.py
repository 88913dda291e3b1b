"""The rhythm that CMT sees in a video, on motions that are known, and the bars and strengths it asks for."""

import numpy as np
import pytest

from d2m_model.baselines.cmt import generation as cmt_generation
from d2m_model.baselines.cmt import tokens as cmt_tokens
from d2m_model.baselines.cmt import video as cmt_video
from d2m_model.baselines.cmt.generation import Statistics
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS
from tests.d2m_model.baselines.cmt.test_cmt_tokens import BARS, TOKENS


def stopping(tempo, seconds=8.0, start=0.3):
    """Flow by direction of a body that swings to and fro and stops short on each beat."""
    times = (np.arange(round(seconds * FPS) - 1) + 0.5) / FPS
    beats = (times - start) * tempo / 60
    flows = np.zeros((len(times), cmt_video.DIRECTIONS))
    flows[np.arange(len(times)), np.where(np.floor(beats) % 2 == 0, 0, 6)] = beats % 1.0
    return flows


@pytest.mark.parametrize("tempo", [84.0, 118.0, 146.0])
def test_visual_beats_of_a_body_that_stops_on_the_beat(tempo):
    rhythm = cmt_video.rhythm_of(cmt_video.motion_of(stopping(tempo)))
    assert rhythm.tempo == pytest.approx(tempo, abs=1.0)
    assert rhythm.bars[0] <= 0 and rhythm.bars[-1] >= 8 and np.diff(rhythm.bars) == pytest.approx(240 / rhythm.tempo)
    found = cmt_tokens.seconds(sorted(rhythm.beats), rhythm.bars)
    true = np.arange(0.3, 8.0, 60 / tempo)
    assert len(found) >= len(true) - 3
    assert max(np.abs(true - time).min() for time in found) < 0.06


def test_a_tempo_that_is_known_is_kept():
    assert cmt_video.rhythm_of(cmt_video.motion_of(stopping(118.0)), tempo=100.0).tempo == 100.0


def test_a_still_video_has_bars_and_no_beats():
    rhythm = cmt_video.rhythm_of(cmt_video.motion_of(np.zeros((89, cmt_video.DIRECTIONS))))
    assert rhythm.beats == {} and not rhythm.speeds.any()
    assert cmt_video.motion_of(np.zeros((0, cmt_video.DIRECTIONS))).impact.tolist() == [0.0]


def test_the_flow_of_a_video_file(tmp_path):
    """A pattern that moves right by 3 px a frame in a picture of 96 x 64 px, then rests."""
    import av

    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (16, 60)), np.ones((4, 4))).astype(np.uint8)
    with av.open(str(tmp_path / "moves.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(20):
            at = 60 - 3 * min(k, 10)
            picture = np.ascontiguousarray(np.repeat(wide[:, at : at + 96, None], 3, axis=2))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    motion = cmt_video.read_motion(tmp_path / "moves.mp4")
    assert motion.speed.shape == motion.impact.shape == (20,)
    assert motion.speed[1:10] * 96 == pytest.approx(3, abs=0.5)
    assert motion.speed[12:].max() * 96 < 0.2
    assert motion.impact.argmax() in (11, 12)


def test_directions_add_up_to_the_length():
    flow = np.zeros((2, 8, 8), np.float32)
    flow[0, :, :4], flow[1, :, 4:] = 2.0, -1.0  # right, and up
    found = cmt_video.directions(flow)
    assert found.sum() == pytest.approx(1.5) and sorted(np.flatnonzero(found)) == [0, 9]


def test_an_unreadable_video_is_a_users_mistake(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="x.mp4"):
        cmt_video.read_motion(tmp_path / "x.mp4")


def test_faster_bars_are_denser_and_stronger_beats_stronger():
    """Speeds 0..99; densities 4 in half of the training bars, 12 in the other; strengths 1 to 10 equally often."""
    densities, strengths = np.zeros(18), np.zeros(20)
    densities[[5, 13]], strengths[1:11] = 50, 7
    known = Statistics(np.arange(100.0), densities, strengths)
    rhythm = cmt_video.Rhythm(120.0, BARS, np.array([-1.0, 30.0, 80.0, 500.0]), {0: 0.05, 4: 0.55, 8: 1.0})
    plan = cmt_generation.plan_of(rhythm, known)
    assert plan.densities == [4, 4, 12, 12] and plan.strengths == {0: 1, 4: 6, 8: 10}


def test_statistics_count_bars_and_ticks():
    known = cmt_generation.statistics_of([np.array(TOKENS, np.uint8)], np.array([3.0, 1.0]))
    assert known.speeds.tolist() == [1.0, 3.0]
    assert {int(d): int(known.densities[d]) for d in np.flatnonzero(known.densities)} == {2: 1, 3: 1}
    assert {int(s): int(known.strengths[s]) for s in np.flatnonzero(known.strengths)} == {1: 1, 2: 2}
