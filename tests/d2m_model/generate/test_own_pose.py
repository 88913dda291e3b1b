"""Which weights look for the dancer of one's own video, and whose poses are kept."""

import hashlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from d2m_model.generate import own_pose, own_video
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
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
    (tmp_path / "params.yaml").write_text("clips: {crop: false}\npose: {}\ngenerate: {}\n")
    yield Layout(root=tmp_path, corpus="tiny")
    server.shutdown()
    server.server_close()


def asked(layout, weights="pose_demo", pose_layout="coco17", **how):
    return [
        (n.path.name, n.long_edge)
        for n in own_pose.networks(layout, weights, pose_layout, 257, **{"any_estimator": True} | how)
    ]


def test_the_published_weights_come_first_and_are_fetched_once(layout, capsys):
    for _ in range(2):
        assert asked(layout) == [("pose_k16.pkl", 385), ("pose_demo.pt", 257)]
    assert (layout.root / "weights" / "pose_k16.pkl").read_bytes() == FILE and Publisher.asked == 1
    assert "published weights pose_k16" in capsys.readouterr().out


def test_without_them_the_demos_look_and_a_line_says_so(layout, capsys):
    table = layout.weights_table
    table.write_text(re.sub(r"http://.*/", "http://127.0.0.1:9/", table.read_text()))
    assert asked(layout) == [("pose_demo.pt", 257)]
    assert "know rendered dancers" in capsys.readouterr().out


def test_who_reads_one_estimators_poses_gets_the_corpuss_weights(layout, tmp_path):
    (tmp_path / "own.pt").touch()
    assert asked(layout, any_estimator=False) == [("pose_demo.pt", 257)]
    assert asked(layout, "own.pt") == [("own.pt", 257)], "a corpus with weights of its own"
    (tmp_path / "params.yaml").write_text("generate: {pose_weights: own.pt}\n")
    assert asked(layout) == [("own.pt", 385)]
    (tmp_path / "params.yaml").write_text("generate: {pose_weights: pose_demo}\n")
    assert asked(layout) == [("pose_demo.pt", 257)]
    (tmp_path / "params.yaml").write_text("generate: {pose_weights: none}\n")
    with pytest.raises(UserError, match="weights 'none': neither a name in"):
        asked(layout)
    assert Publisher.asked == 0


@pytest.mark.parametrize(
    ("published", "demo", "kept", "looked"), [(0.75, 1.0, 0.75, 1), (0.25, 1.0, 1.0, 2), (0.25, 0.0, 0.25, 2)]
)
def test_the_poses_of_whoever_sees_more_are_kept(layout, monkeypatch, published, demo, kept, looked):
    made = []

    class Network:
        """Sees one dancer in the first `share` of the frames."""

        def __init__(self, path, **_):
            made.append(path)
            self.share = published if path.suffix == ".pkl" else demo

        def start(self, frames):
            return list(frames)

        def find_people(self, frames):
            for n in range(len(frames)):
                people = int(n < self.share * len(frames))
                yield np.full((people, 17, 3), 50, np.float32), np.zeros((people, 10, 3), np.float32)

    monkeypatch.setattr(estimator, "PoseEstimator", Network)
    write_video(layout.root / "in.mp4", frames=32)
    posed = own_video.read_posed(layout.root / "in.mp4", layout.root, layout, any_estimator=True)
    assert posed.coverage == pytest.approx(kept, abs=0.03) and len(made) == looked
