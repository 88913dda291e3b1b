"""Which weights look for the dancer of one's own video, and whose poses are kept."""

import hashlib
import re
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from d2m_model.generate import own_pose, own_video
from dataset_tools.i3d import visual_features
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.progress import watch_progress
from dataset_tools.lib.video import clip_reader
from dataset_tools.pose import estimator
from tests.d2m_model.generate.test_mux import write_video

FILE = b"a published network"


class Publisher(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILE)))
        self.end_headers()
        self.wfile.write(FILE)

    def log_message(self, *_):
        pass


@pytest.fixture
def layout(tmp_path):
    """A working folder whose table of weights has `pose_k16` on a server of this machine, and the demo's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    Thread(target=server.serve_forever, daemon=True).start()
    Publisher.asked = 0
    digest = hashlib.sha256(FILE).hexdigest()[:8]
    rows = [
        "name,url,checksum_kind,checksum,bytes,licence,purpose",
        f"pose_k16,http://127.0.0.1:{server.server_port}/k16.pkl,sha256-prefix8,{digest},,x,pose",
    ]
    rows.append("pose_demo,package:dataset_tools/demo/weights/pose_demo.pt,in-project,,,x,pose")
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "weights.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "params.yaml").write_text("clips: {crop: false}\npose: {}\ni3d: {}\ngenerate: {}\n")
    yield Layout(root=tmp_path, corpus="tiny")
    server.shutdown()
    server.server_close()


def asked(layout, weights="pose_demo", pose_layout="coco17"):
    return [(n.path.name, n.long_edge) for n in own_pose.networks(layout, weights, pose_layout, 257)]


def test_the_published_weights_come_first_and_are_fetched_once(layout, capsys):
    for _ in range(2):
        assert asked(layout) == [("pose_k16.pkl", 385), ("pose_demo.pt", 257)]
    assert (layout.root / "weights" / "pose_k16.pkl").read_bytes() == FILE and Publisher.asked == 1
    assert "published weights pose_k16" in capsys.readouterr().out


def test_without_them_the_demos_look_and_a_line_says_so(layout, capsys):
    table = layout.weights_table
    table.write_text(re.sub(r"http://.*/", "http://127.0.0.1:9/", table.read_text()))
    assert asked(layout) == [("pose_demo.pt", 257)]
    assert "pose_k16 can't be had (ConnectionError, attempt 1 of 1); the demo's are used" in capsys.readouterr().out


def test_weights_that_params_name_are_the_only_ones(layout, tmp_path):
    (tmp_path / "own.pt").touch()
    assert asked(layout, "own.pt") == [("own.pt", 257)], "a corpus with weights of its own"
    (tmp_path / "params.yaml").write_text("generate: {pose_weights: own.pt}\n")
    assert asked(layout) == [("own.pt", 385)]
    (tmp_path / "params.yaml").write_text("generate: {pose_weights: pose_demo}\n")
    assert asked(layout) == [("pose_demo.pt", 257)]
    (tmp_path / "params.yaml").write_text("generate: {pose_weights: none}\n")
    with pytest.raises(UserError, match="weights 'none': neither a name in"):
        asked(layout)
    assert Publisher.asked == 0


class Network:
    """Sees one dancer in the first share of the frames, which depends on the file's suffix."""

    def __init__(self, made, shares, path, **_):
        made.append(path.name)
        self.share = shares[path.suffix]

    def start(self, frames):
        return list(frames)

    def find_people(self, frames):
        for n in range(len(frames)):
            people = int(n < self.share * len(frames))
            yield np.full((people, 17, 3), 50, np.float32), np.zeros((people, 10, 3), np.float32)


@pytest.mark.parametrize(
    ("published", "demo", "kept", "looked"), [(0.75, 1.0, 0.75, 1), (0.25, 1.0, 1.0, 2), (0.25, 0.0, 0.25, 2)]
)
def test_the_poses_of_whoever_sees_more_are_kept(layout, monkeypatch, published, demo, kept, looked):
    made = []
    monkeypatch.setattr(estimator, "PoseEstimator", partial(Network, made, {".pkl": published, ".pt": demo}))
    write_video(layout.root / "in.mp4", frames=32)
    posed = own_video.read_posed(layout.root / "in.mp4", layout)
    assert posed.coverage == pytest.approx(kept, abs=0.03) and len(made) == looked
    assert posed.weights == ("pose_k16" if kept == published else "pose_demo")


def test_a_model_of_one_estimators_poses_gets_the_corpuss_weights_and_the_video_is_decoded_once(layout, monkeypatch):
    made, decoded = [], []
    real = clip_reader.read_clip

    def counted(*args):
        for frame in real(*args):
            decoded.append(1)
            yield frame

    monkeypatch.setattr(estimator, "PoseEstimator", partial(Network, made, {".pt": 0.5}))
    monkeypatch.setattr(clip_reader, "read_clip", counted)
    monkeypatch.setattr(
        visual_features, "load_visual_features", lambda *_: lambda frames: np.full((1, 2048), len(list(frames)))
    )
    write_video(layout.root / "in.mp4", frames=48)
    found = own_video.read_dance(layout.root / "in.mp4", layout.root, layout)
    assert made == ["pose_demo.pt"] and found.coverage == pytest.approx(0.5, abs=0.03)
    assert len(decoded) == len(found.pose) == found.visual[0, 0] == 60


@pytest.mark.parametrize("fails", ["pose", "features"])
def test_an_error_of_one_network_does_not_leave_the_other_waiting(layout, monkeypatch, fails):
    def damaged(*_, **__):
        raise UserError(f"the {fails} fail")

    monkeypatch.setattr(estimator, "PoseEstimator", damaged if fails == "pose" else partial(Network, [], {".pt": 1.0}))
    features = damaged if fails == "features" else lambda frames: np.full((1, 2048), len(list(frames)))
    monkeypatch.setattr(visual_features, "load_visual_features", lambda *_: features)
    write_video(layout.root / "in.mp4", frames=48)
    with pytest.raises(UserError, match=f"the {fails} fail"):
        own_video.read_dance(layout.root / "in.mp4", layout.root, layout)


def test_the_bar_counts_the_frames_of_the_video_though_only_some_are_looked_at(layout, monkeypatch):
    monkeypatch.setattr(estimator, "PoseEstimator", partial(Network, [], {".pkl": 1.0, ".pt": 1.0}))
    write_video(layout.root / "in.mp4", frames=49)
    told = []
    with watch_progress(lambda label, *what: label == "pose" and told.append(what)):
        frames = len(own_video.read_posed(layout.root / "in.mp4", layout).pose)
    assert frames % 3 and told[0] == (0, frames, "frame") and told[-1] == (frames, frames, "frame")
