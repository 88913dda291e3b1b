"""Visual features: windows of a clip against the networks called by hand, and the stage on a small folder of clips."""

import dataclasses
import itertools

import av
import numpy as np
import pytest
import torch

from dataset_tools.i3d import stage as i3d
from dataset_tools.i3d import visual_features
from dataset_tools.i3d.__main__ import main
from dataset_tools.i3d.checkpoints import STREAMS, i3d_features, load_i3d, save_i3d
from dataset_tools.i3d.params import Params
from dataset_tools.i3d.rows import FeatureRow
from dataset_tools.i3d.stage import extract
from dataset_tools.i3d.visual_features import VisualFeatures, center_crop, cut_windows, load_visual_features, resize
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT, Layout
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.video.flow import Flow, scale_flow, to_gray
from tests.helpers.i3d_builders import lively

WEIGHTS_HEADER = "name,url,checksum_kind,checksum,bytes,licence,purpose\n"


def moving_frames(count, height=40, width=36, seed=0):
    """uint8 (T, H, W, 3): a smooth texture that slides one pixel a frame."""
    wave = np.arange(width + count)[None, :] / 5 + np.arange(height)[:, None] / 7 + seed
    texture = 127 + 60 * np.stack([np.sin(wave + c) + np.cos(wave / 3 * c) for c in range(3)], axis=2)
    return np.stack([texture[:, t : t + width] for t in range(count)]).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A two-stream file of very narrow networks."""
    path = tmp_path_factory.mktemp("weights") / "narrow.pt"
    save_i3d(path, lively(3), lively(2), {"genre": ["a", "b", "c"]})
    return path


def extractor(weights, **changes):
    settings = {"frame_size": 36, "crop": 0, "flow_method": "dis", "batch": 2} | changes
    return VisualFeatures(*(load_i3d(weights, stream) for stream in STREAMS), **settings)


@pytest.mark.parametrize(("frames", "windows"), [(0, 0), (59, 0), (60, 1), (89, 1), (90, 2), (155, 4)])
def test_one_row_for_every_second_with_a_whole_window(weights, frames, windows):
    features = extractor(weights)(moving_frames(155)[:frames])
    assert features.shape == (windows, 2048) and features.dtype == np.float32


@pytest.mark.parametrize("frames", [120, 121])
def test_rows_are_the_networks_outputs_for_their_window(weights, frames):
    clip = moving_frames(frames, height=52, width=40)
    features = extractor(weights, frame_size=36, crop=34)(clip)
    small = np.stack([resize(frame, 36) for frame in clip])
    assert small.shape == (frames, 47, 36, 3)
    solver = Flow("dis")
    flows = [scale_flow(solver.between(to_gray(a), to_gray(b))) for a, b in itertools.pairwise(small)]
    flows = np.stack([*flows, flows[-1]])  # 120 frames end with a window: its last flow is repeated
    for w in range(3):
        window = slice(30 * w, 30 * w + 60)
        images = small[window, 6:40, 1:35].transpose(3, 0, 1, 2).astype(np.float32) / 127.5 - 1
        flow = flows[window, :, 6:40, 1:35].transpose(1, 0, 2, 3)
        rgb = i3d_features(load_i3d(weights, "rgb"), torch.from_numpy(images[None]))
        motion = i3d_features(load_i3d(weights, "flow"), torch.from_numpy(flow[None].copy()))
        np.testing.assert_allclose(features[w], torch.cat([rgb, motion], dim=1)[0], rtol=1e-3, atol=1e-4)
    assert features[:, :1024].std() > 0.01 and features[:, 1024:].std() > 0.01


def test_frames_may_come_one_by_one_and_batch_does_not_matter(weights):
    clip = moving_frames(150)
    whole = extractor(weights, batch=4)(clip)
    for batch in (1, 3):
        np.testing.assert_allclose(extractor(weights, batch=batch)(iter(clip)), whole, rtol=1e-3, atol=1e-4)


def test_windows_of_several_clips_share_full_batches(weights):
    clips = [moving_frames(frames, seed=frames) for frames in (150, 40, 121, 60)]
    alone, together = extractor(weights, batch=3), extractor(weights, batch=3, share_batches=True)
    sizes, compute = [], together._shared._function
    together._shared._function = lambda windows: sizes.append(len(windows)) or compute(windows)
    rows = [together.features(started) for started in [together.start(clip) for clip in clips]]
    for clip, found in zip(clips, rows, strict=True):
        np.testing.assert_allclose(found, alone(clip), rtol=1e-3, atol=1e-4)
    assert [len(found) for found in rows] == [4, 0, 3, 1] and set(sizes) == {3} and 3 <= len(sizes) <= 4


def test_flow_is_computed_once_for_each_pair(weights, monkeypatch):
    calls = []
    between = Flow.between
    monkeypatch.setattr(Flow, "between", lambda self, a, b: calls.append(1) or between(self, a, b))
    extractor(weights)(moving_frames(150))
    assert len(calls) == 149


def test_few_frames_are_held_at_once(weights, monkeypatch):
    held = []
    monkeypatch.setattr(
        visual_features, "cut_windows", lambda rgb, flow: held.append((len(rgb), len(flow))) or cut_windows(rgb, flow)
    )
    assert len(extractor(weights, batch=2)(moving_frames(300))) == 9
    assert held[0] == (90, 90) and max(held) == (90, 90)


def test_resize_and_crop():
    frame = np.arange(90 * 50 * 3, dtype=np.uint32).reshape(90, 50, 3).astype(np.uint8)
    assert resize(frame, 25).shape == (45, 25, 3)
    assert resize(frame, 100).shape == (180, 100, 3)
    assert center_crop(frame, 10, axis=0)[0, 0].tolist() == frame[40, 20].tolist()
    flow = np.zeros((2, 9, 7))
    assert center_crop(flow, 5, axis=1).shape == (2, 5, 5) and center_crop(flow, 0, axis=1) is flow


def test_raft_flow_takes_its_weights_from_the_table(weights, tmp_path, monkeypatch):
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    torch.save(raft_large(weights=None, progress=False).state_dict(), tmp_path / "raft.pth")
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "weights.csv").write_text(WEIGHTS_HEADER)
    layout = Layout(root=tmp_path, corpus="demo")
    chosen = Params(weights=str(weights), frame_size=128, batch=1, flow="raft", flow_weights="raft.pth")
    features = load_visual_features(chosen, layout)
    monkeypatch.setattr(visual_features, "WINDOW_FRAMES", 2)  # RAFT takes its time
    rgb, flow = next(features._stretches(moving_frames(2, 136, 128)))
    assert rgb.shape == (2, 136, 128, 3) and flow.shape == (2, 2, 136, 128) and flow.dtype == np.float32
    assert np.abs(flow).max() <= 2 * 256 / 255 - 1 + 1e-6
    for flow_weights in ("raft_sintel", "none.pth"):  # neither in this table nor a file
        with pytest.raises(UserError, match=f"weights '{flow_weights}': neither"):
            load_visual_features(dataclasses.replace(chosen, flow_weights=flow_weights), layout)


def test_load_by_name_and_by_pair_of_paths(weights, tmp_path):
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "weights.csv").write_text(WEIGHTS_HEADER)
    layout = Layout(root=tmp_path, corpus="demo")
    pair = load_visual_features(Params(weights=(str(weights), str(weights)), frame_size=32), layout)
    assert (pair.rgb_net.in_channels, pair.flow_net.in_channels) == (3, 2)
    with pytest.raises(UserError, match="weights 'nothing': neither a name"):
        load_visual_features(Params(weights="nothing", frame_size=32), layout)


def write_video(path, frames):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "12"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        out.mux(stream.encode())


@pytest.fixture
def root(tmp_path, weights):
    """A working folder after the stage clips: two good clips, one too short, one that clips had lost."""
    (tmp_path / "manifests" / "demo").mkdir(parents=True)
    (tmp_path / "manifests" / "weights.csv").write_text(WEIGHTS_HEADER)
    (tmp_path / "params.yaml").write_text("i3d: {weights: narrow.pt, frame_size: 36, workers: 1, min_ok: 0.5}\n")
    (tmp_path / "narrow.pt").write_bytes(weights.read_bytes())
    clips = tmp_path / "data" / "demo" / "clips"
    clips.mkdir(parents=True)
    for name, count in (("a", 95), ("b", 60), ("short", 59)):
        write_video(clips / f"{name}.mp4", moving_frames(count, seed=count))
    (clips / "rows.csv").write_text(
        "id,status,reason,video_id,song_id,frames\na,ok,,v,s,95\nb,ok,,v,s,60\nlost,failed,no such video,v,s,\nshort,ok,,v,s,59\n"
    )
    return tmp_path


def layout(root):
    return Layout(root=root, corpus="demo")


PARAMS = Params(weights="narrow.pt", frame_size=36, workers=1, min_ok=0.5)


def test_stage(root, capsys):
    assert main(["--root", str(root), "--corpus", "demo"]) == 0
    out = root / "data" / "demo" / "i3d"
    assert sorted(p.name for p in out.iterdir()) == ["a.npy", "b.npy", "rows.csv"]
    features = np.load(out / "a.npy", allow_pickle=False)
    assert features.shape == (2, 2048) and features.dtype == np.float32
    np.testing.assert_array_equal(features, np.round(features, 3))
    rows = {row.id: row for row in read_records(out / "rows.csv", FeatureRow)}
    assert {k: (r.status, r.reason, r.windows) for k, r in rows.items()} == {
        "a": ("ok", "", 2),
        "b": ("ok", "", 1),
        "lost": ("failed", "no such video", 0),
        "short": ("dropped", "shorter than one window of 2 s", 0),
    }
    assert rows["a"].weights.startswith("narrow@") and len(rows["a"].weights) == len("narrow@12345678")
    assert str(root) not in (out / "rows.csv").read_text()
    assert "2 of 4 ok, 1 dropped, 1 failed, 3 windows" in capsys.readouterr().out


def test_stage_agrees_with_the_extractor_on_the_decoded_frames(root, weights):
    extract(layout(root), PARAMS)
    with av.open(str(root / "data/demo/clips/a.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    expected = extractor(weights)(frames)
    # two decoders turn YUV into RGB with slightly different rounding
    np.testing.assert_allclose(np.load(root / "data/demo/i3d/a.npy"), expected, rtol=0.05, atol=0.05)


def test_second_run_takes_the_cache_and_equal_runs_give_equal_bytes(root, monkeypatch):
    extract(layout(root), PARAMS)
    out = root / "data" / "demo" / "i3d"
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    for path in (root / "data" / ".cache" / "i3d").iterdir():
        path.unlink()
    extract(layout(root), PARAMS)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first
    monkeypatch.setattr(i3d, "work", None)  # would fail if it were called
    for path in out.iterdir():
        path.unlink()
    extract(layout(root), PARAMS)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first


def test_other_parameters_weights_or_video_are_computed_anew(root):
    extract(layout(root), PARAMS)
    cache, out = root / "data" / ".cache" / "i3d", root / "data" / "demo" / "i3d"
    before = (out / "a.npy").read_bytes()
    extract(layout(root), Params(weights="narrow.pt", frame_size=40, workers=1))
    assert (out / "a.npy").read_bytes() != before and len(list(cache.iterdir())) == 6
    save_i3d(root / "narrow.pt", lively(3, seed=1), lively(2, seed=1), {})
    extract(layout(root), PARAMS)
    assert (out / "a.npy").read_bytes() != before and len(list(cache.iterdir())) == 9
    write_video(root / "data/demo/clips/b.mp4", moving_frames(60, seed=5))
    extract(layout(root), PARAMS)
    assert len(list(cache.iterdir())) == 10


def test_features_of_a_clip_that_is_gone_are_removed(root):
    extract(layout(root), PARAMS)
    rows = root / "data" / "demo" / "clips" / "rows.csv"
    rows.write_text("".join(line for line in rows.open() if not line.startswith("b,")))
    extract(layout(root), PARAMS)
    assert not (root / "data" / "demo" / "i3d" / "b.npy").exists()


def test_processes_give_what_one_process_gives(root):
    extract(layout(root), PARAMS)
    out = root / "data" / "demo" / "i3d"
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    for path in (root / "data" / ".cache" / "i3d").iterdir():
        path.unlink()
    extract(layout(root), Params(weights="narrow.pt", frame_size=36, workers=2))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first


def test_unreadable_and_wrong_length_clips_fail_alone(root, capsys):
    clips = root / "data" / "demo" / "clips"
    (clips / "a.mp4").write_bytes((clips / "a.mp4").read_bytes()[:400])
    rows = clips / "rows.csv"
    rows.write_text(rows.read_text().replace("short,ok,,v,s,59", "short,ok,,v,s,75"))
    with pytest.raises(
        UserError, match="i3d: 1 of 4 ok, 3 failed, but i3d.min_ok asks for 50%; a: a.mp4: cannot be decoded"
    ):
        main(["--root", str(root), "--corpus", "demo"])
    found = {row.id: row.reason for row in read_records(root / "data/demo/i3d/rows.csv", FeatureRow)}
    assert found["short"] == "short.mp4: 59 frames, but clips/rows.csv says 75"
    assert found["a"].startswith("a.mp4: cannot be decoded") and "\n" not in found["a"]
    assert (root / "data" / "demo" / "i3d" / "b.npy").exists()


@pytest.mark.parametrize("frames", ["", "1"])
def test_a_number_of_frames_that_can_not_be_is_that_clips_failure(root, frames):
    rows = root / "data" / "demo" / "clips" / "rows.csv"
    rows.write_text(rows.read_text().replace("short,ok,,v,s,59", f"short,ok,,v,s,{frames}"))
    found = {row.id: row for row in extract(layout(root), PARAMS)}
    assert found["short"].status == "failed" and found["b"].status == "ok"
    assert "clips/rows.csv" in found["short"].reason


def test_a_damaged_file_in_the_cache_is_made_again(root):
    extract(layout(root), PARAMS)
    out, cache = root / "data" / "demo" / "i3d", sorted((root / "data" / ".cache" / "i3d").iterdir())
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    for path, damage in zip(cache, (b"", b"no array", cache[-1].read_bytes()[:-9]), strict=False):
        path.write_bytes(damage)
    extract(layout(root), PARAMS)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first


def test_missing_video_of_an_ok_row(root):
    (root / "data" / "demo" / "clips" / "b.mp4").unlink()
    with pytest.raises(UserError, match="b.mp4: file not found, though clips/rows.csv says ok"):
        extract(layout(root), PARAMS)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"frame_size": 8}, "frame_size must be 32..1024"),
        ({"crop": 80}, r"crop must be 0 or 32..frame_size \(64\)"),
        ({"flow": "farneback"}, "flow must be one of tvl1, dis, raft"),
        ({"flow": "raft"}, "flow raft needs a frame_size of at least 128 px, found 64"),
        ({"weights": ("a", "b", "c")}, "weights must be one file or"),
        ({"batch": 0}, "batch must be"),
        ({"workers": 0}, "workers must be"),
        ({"min_ok": 2}, "min_ok must be"),
    ],
)
def test_parameters_out_of_range(values, rule):
    with pytest.raises(ValueError, match=rule):
        Params(**values)


def test_the_demos_weights_fit_the_demos_parameters():
    features = load_visual_features(Params(), Layout(root=PROJECT, corpus="demo"))
    rows = features(moving_frames(90, height=113, width=64))
    assert rows.shape == (2, visual_features.COLUMNS) and np.isfinite(rows).all()
    assert rows[:, :1024].std() > 0.01 and rows[:, 1024:].std() > 0.01
