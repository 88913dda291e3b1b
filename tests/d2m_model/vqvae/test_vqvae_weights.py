"""The stage `vqvae` with published weights: fetched, checked, taken over, measured; other sizes are refused."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import yaml

from d2m_model.report.plots import loss_curves
from d2m_model.training import checkpoint
from d2m_model.training.vqvae_files import KIND, VERSION, load_vqvae
from d2m_model.vqvae import __main__ as vqvae
from d2m_model.vqvae.params import Params
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.lib.core.params import load_params
from tests.d2m_model.checkpoints.test_checkpoints import random_tensors
from tests.d2m_model.checkpoints.test_jukebox import jukebox_shapes
from tests.helpers.builders import build_shards

SIZES = {"width": 8, "depth": 1, "multipliers": [1, 1, 1], "bins": 16}


@pytest.fixture
def root(tmp_path):
    """A working folder whose weights table names a narrow JukeBox file on a server of this machine."""
    tensors = random_tensors(jukebox_shapes({level: (8, 1) for level in (0, 1, 2)}, bins=16))
    file = tmp_path / "published.pth.tar"
    torch.save(
        {"model": {f"module.{name}": value for name, value in tensors.items()}, "hps": {"levels": 3}, "step": 1}, file
    )
    content = file.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    root = tmp_path / "root"
    (root / "manifests" / "tiny").mkdir(parents=True)
    build_shards(root / "data" / "tiny" / "shards", clips=1, seconds=3, split="test")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/vqvae.pth.tar"
        (root / "manifests" / "weights.csv").write_text(
            "name,url,checksum_kind,checksum,bytes,licence,purpose\n"
            f"jukebox_vqvae,{url},sha256,{hashlib.sha256(content).hexdigest()},,non-commercial,test\n"
        )
        yield root
        server.shutdown()


def write_params(root, **changes) -> None:
    section = {"weights": "jukebox_vqvae", "test_windows": 2} | SIZES | changes
    (root / "params.yaml").write_text(yaml.safe_dump({"corpus": "tiny", "vqvae": section}))


def test_published_weights_take_the_trainings_place(root, capsys):
    write_params(root)
    assert vqvae.main(["--root", str(root)]) == 0
    assert "jukebox_vqvae taken as published, not trained; its licence: non-commercial" in capsys.readouterr().out
    out = root / "runs" / "tiny" / "vqvae"
    published = torch.load(root.parent / "published.pth.tar", weights_only=True)["model"]
    model = load_vqvae(out / "model.pt")
    assert all(torch.equal(value, published[f"module.{name}"]) for name, value in model.state_dict().items())
    meta, metrics = (
        checkpoint.load(out / "model.pt", KIND, VERSION).meta,
        json.loads((out / "metrics.json").read_text()),
    )
    sha256 = hashlib.sha256((root.parent / "published.pth.tar").read_bytes()).hexdigest()
    assert (meta["weights"], meta["weights_sha256"]) == ("jukebox_vqvae", sha256)
    assert set(metrics["levels"]) == {"0", "1", "2"} and metrics["weights_sha256"] == sha256
    assert (out / "curves.csv").read_text() == "step\n" and loss_curves(out / "curves.csv", "vqvae") == []
    first = (out / "model.pt").read_bytes()
    assert vqvae.main(["--root", str(root)]) == 0 and (out / "model.pt").read_bytes() == first


def test_weights_of_other_sizes_are_one_line_and_nothing_is_written(root):
    write_params(root, width=16)
    with pytest.raises(UserError, match="vqvae.weights: .*width 16.*; the sizes are those of section vqvae") as caught:
        vqvae.main(["--root", str(root)])
    assert "\n" not in str(caught.value) and not (root / "runs").exists()
    write_params(root, weights="nothing.pt")
    with pytest.raises(UserError, match=r"weights 'nothing.pt': neither a name in .*weights.csv nor a file"):
        vqvae.main(["--root", str(root)])


def test_presets_take_jukeboxs_the_demos_or_train_their_own():
    chosen = {
        p: load_params(PROJECT / "presets" / f"{p}.yaml", "vqvae", Params) for p in ("tiktok", "demo", "demo-codec")
    }
    assert [chosen[p].weights for p in chosen] == ["jukebox_vqvae", "vqvae_demo", ""]
    assert chosen["tiktok"].config() == Params().config()
