"""AIST++'s files: names, features of known rotations, and pickles that try something."""

import codecs
import os
import pickle
from functools import partial
from inspect import isfunction

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dataset_tools.lib.aist.annotations import compute_motion_features, read_arrays, read_keypoints, read_motion
from dataset_tools.lib.aist.array_pickle import _ArrayStandIn, _Call, _DtypeStandIn, _Unpickler, load_arrays
from dataset_tools.lib.aist.names import GENRES, parse_name
from dataset_tools.lib.core.errors import UserError


def dump(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def motion(count=120, **changes):
    rng = np.random.default_rng(0)
    content = {
        "smpl_poses": rng.normal(size=(count, 72)),
        "smpl_trans": rng.normal(size=(count, 3)) * 90,
        "smpl_scaling": np.array([90.0]),
        "smpl_loss": 0.1,
    }
    return content | changes


def test_name_says_genre_music_tempo_and_sequence():
    name = parse_name("gHO_sBM_c01_d20_mHO5_ch08")
    assert (name.genre, name.music, name.camera, name.tempo) == ("gHO", "mHO5", 1, 135)
    assert name.sequence == "gHO_sBM_cAll_d20_mHO5_ch08" and name.video(7) == "gHO_sBM_c07_d20_mHO5_ch08"
    assert (
        parse_name("gBR_sFM_cAll_d04_mBR2_ch03").camera is None
        and parse_name("gBR_sFM_cAll_d04_mBR2_ch03").tempo == 100
    )
    assert list(GENRES).index("gJB") == 9 and list(GENRES).index("gHO") == 5


@pytest.mark.parametrize(
    "bad", ["gXX_sBM_c01_d04_mBR0_ch01", "gBR_sBM_c10_d04_mBR0_ch01", "../gBR_sBM_c01_d04_mBR0_ch01", ""]
)
def test_other_names_are_refused(bad):
    with pytest.raises(ValueError):
        parse_name(bad)


def test_features_are_translation_over_scaling_then_rotation_matrices():
    poses = np.zeros((2, 24, 3))
    poses[1, 23] = [0, 0, np.pi / 2]
    features = compute_motion_features(poses, np.array([[90.0, 0, -45], [0, 0, 0]]), 90.0)
    assert features.shape == (2, 219) and features.dtype == np.float32
    assert features[0, :3].tolist() == [1, 0, -0.5]
    assert np.allclose(features[0, 3:].reshape(24, 3, 3), np.eye(3))
    assert np.allclose(features[1, -9:].reshape(3, 3), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-7)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_every_pickle_protocol(tmp_path, protocol):
    content = motion()
    features = read_motion(dump(tmp_path / "m.pkl", content, protocol))
    again = features[7, 3:].reshape(24, 3, 3)
    assert np.allclose(
        Rotation.from_matrix(again).as_matrix(),
        Rotation.from_rotvec(content["smpl_poses"][7].reshape(24, 3)).as_matrix(),
        atol=1e-6,
    )


def test_keypoints_of_one_camera_with_gaps(tmp_path):
    points = np.random.default_rng(1).uniform(0, 900, (9, 60, 17, 3))
    points[..., 2] = 0.7
    points[2, 5, 9] = np.nan
    path = dump(
        tmp_path / "k.pkl", {"keypoints2d": points, "det_scores": np.ones((9, 60)), "timestamps": np.arange(60)}
    )
    seen = read_keypoints(path, camera=3)
    assert seen.shape == (60, 17, 3) and (seen[5, 9] == 0).all()
    assert np.allclose(seen[6], points[2, 6], rtol=1e-6)


class Calls:
    """What pickles as a call of `function`, or as `state` put into what it gives."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.call


def hostile(flag):
    """Values that would make the folder `flag`, run code or do harm in other ways, were they made: name -> (value, what is said)."""
    mkdir = Calls(os.mkdir, str(flag))
    eight = b"A" * 8
    return {
        "called": (mkdir, "names .*mkdir"),
        "in containers": ([{"a": (1, [mkdir])}], "names .*mkdir"),
        "as an argument": (Calls(np.dtype, mkdir), "names .*mkdir"),
        "as a state": (Calls(np.dtype, "f8", state=(3, mkdir)), "names .*mkdir"),
        "in an object array": (np.array([mkdir], object), "names .*mkdir|values of type"),
        "through eval": (Calls(eval, "1"), "names .*builtin.*eval"),
        "through getattr": (Calls(getattr, np.dtype, "str"), "names .*builtin.*getattr"),
        "through partial": (Calls(partial, os.mkdir, str(flag)), "names 'functools.partial'"),
        "an array of pointers": (Calls(np.ndarray, (1,), np.dtype("O"), eight), "values of type"),
        "a type of hidden pointers": (np.dtype([("a", "O"), ("b", "f8")]), "values of type|not a readable"),
        "a plain type made one": (
            Calls(np.dtype, "V8", state=(3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 63)),
            "values of type",
        ),
        "an array without end": (Calls(np.ndarray, (1 << 40,), np.dtype("u1")), "not a readable"),
        "the same number over and over": (
            Calls(np.ndarray, (1 << 30, 3), np.dtype("f8"), eight * 3, 0, (0, 8)),
            "not a readable",
        ),
        "text that doubles": (Calls(codecs.encode, Calls(codecs.encode, b"A" * 999, "hex"), "hex"), "encodes to 'hex'"),
        "a codec of someone's": (Calls(codecs.encode, "A", "evil"), "encodes to 'evil'"),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("trick", hostile(""))
def test_hostile_values_make_nothing(tmp_path, trick, protocol):
    value, said = hostile(tmp_path / "ran")[trick]
    for content in (motion(smpl_loss=value), motion(smpl_trans=value)):
        with pytest.raises(UserError, match=f"h.pkl: .*({said})"):
            read_motion(dump(tmp_path / "h.pkl", content, protocol))
        assert not (tmp_path / "ran").exists()


NESTED = b")" + b"2\x86" * 30  # a tuple of twice a tuple of twice a tuple ...: as text, 2^30 of them
LONG = b"\x8b" + (2_000_000).to_bytes(4, "little") + b"\x01" * 2_000_000  # a number of two million bytes


def standing() -> list:
    """What a pickle could set on numpy's array or on the stand-ins."""
    return [
        set(np.ndarray.__dict__),
        *(
            {name: dict(vars(f)) for name, f in vars(c).items() if isfunction(f)}
            for c in (_Unpickler, _Call, _ArrayStandIn, _DtypeStandIn)
        ),
    ]


@pytest.mark.parametrize(
    "data, said",
    [
        (b"cos\nmkdir\n(S'%s'\ntR.", "names 'os.mkdir'"),
        (b"(S'%s'\nios\nmkdir\n.", "names 'os.mkdir'"),
        (b"(cos\nmkdir\nS'%s'\no.", "names 'os.mkdir'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "names 'numpy.ndarray.tofile'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.", "names 'numpy.load'"),
        (b"\x80\x04\x8c\x16numpy._core.multiarray\x8c\x08fromfile\x93.", "multiarray.fromfile"),
        (b"\x80\x02\x82\x01.", "not a readable"),  # the extension registry
        (b"\x80\x04Pfile\n.", "not a readable"),  # a persistent id
        (b"\x80\x05\x97.", "not a readable"),  # a buffer from outside
        (b"cnumpy\nndarray\n}S'tofile'\nI1\nsb.", "not a readable"),  # sets an attribute of numpy's class
        (b"cnumpy.core.multiarray\nscalar\n(N}S'__defaults__'\nNstb.", "not a readable"),  # of a function
        (b"(" * 30_000 + b"t" * 30_000 + b".", "more than 20000 opcodes"),
        (b"cnumpy\ndtype\n}S'evil'\nS'y'\nsb.", "not a readable"),  # of a stand-in
        (b"\x80\x02}r" + (60_000_000).to_bytes(4, "little") + b".", "more than 20000 .*memo indices"),
        (b"\x80\x02cnumpy\ndtype\n" + NESTED + b"\x85R.", "a tuple twice"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00a" + NESTED + b"\x86R.", "a tuple twice"),
        (b"\x80\x02cnumpy\ndtype\n)" + b"\x85" * 9000 + b"R.", "values of type a tuple"),
        (b"\x80\x02}(" + (b")" + b"\x85" * 9000 + b"N") * 2 + b"u.", "not a readable"),  # compared, they nest too deep
        (
            b"\x80\x02cnumpy.core.numeric\n_frombuffer\n(C\x00cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R("
            + LONG * 3
            + b"tX\x01\x00\x00\x00CtR.",
            "not a readable",
        ),
        (b"\x80\x02}" + NESTED + b"Ns.", "a tuple twice"),  # hashed as a key
        (b"\x80\x02})q\x00" + b"".join(b"h%c\x86(1q%c" % (i, i + 1) for i in range(30)) + b"Ns.", "a tuple twice"),
        (b"\x80\x04\x8f(" + NESTED + b"\x90.", "a set"),
        (b"c\x1b[2J\nerror: x\x1b\n.", r"names '\\x1b\[2J.error: x\\x1b'"),
        (b"c__main__\nread_motion\n.", "names '__main__.read_motion'"),
        (pickle.dumps([1, 2]), "holds a list"),
    ],
)
def test_hostile_programs_do_nothing(tmp_path, data, said):
    (tmp_path / "h.pkl").write_bytes(data.replace(b"%s", str(tmp_path / "ran").encode()))
    before = standing()
    with pytest.raises(UserError, match=f"h.pkl: .*{said}"):
        read_motion(tmp_path / "h.pkl")
    assert not (tmp_path / "ran").exists() and standing() == before


def test_every_number_type_and_order_comes_back(tmp_path):
    made = {f"{kind}{order}": np.asarray(np.arange(12).reshape(3, 4) % 2, dtype=kind, order=order) for kind in
            ("b1", "i1", "u2", ">i4", "i8", "f2", ">f4", "<f8") for order in "CF"} | {"none": np.zeros((0, 3)), "one": np.float32(2.5)}  # fmt: skip
    made["part"] = np.arange(24.0).reshape(4, 6)[::2, 1::2]
    for protocol in range(6):
        found = load_arrays(dump(tmp_path / "a.pkl", made, protocol))
        for name, values in made.items():
            assert np.array_equal(found[name], values) and np.shape(found[name]) == values.shape, (protocol, name)


def test_damaged_and_unfit_files_are_one_line(tmp_path):
    whole = dump(tmp_path / "whole.pkl", motion()).read_bytes()
    cut = tmp_path / "cut.pkl"
    for end in range(0, len(whole), len(whole) // 40):
        cut.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"cut.pkl: (not a readable|refused)"):
            read_motion(cut)
    with pytest.raises(UserError, match="missing; found smpl_trans"):
        read_arrays(dump(tmp_path / "a.pkl", {"smpl_trans": np.zeros(3)}), ("smpl_poses",))
    with pytest.raises(UserError, match="array of numbers, found str"):
        read_motion(dump(tmp_path / "b.pkl", motion(smpl_poses="zeros")))
    with pytest.raises(UserError, match=r"expected smpl_poses \(N, 24, 3\)"):
        read_motion(dump(tmp_path / "c.pkl", motion(smpl_poses=np.zeros((100, 72)))))
    with pytest.raises(UserError, match="not finite"):
        read_motion(dump(tmp_path / "d.pkl", motion(smpl_trans=np.full((120, 3), np.nan))))
    with pytest.raises(UserError, match="a scaling of inf"):
        read_motion(dump(tmp_path / "i.pkl", motion(smpl_scaling=np.array([np.inf]))))
    with pytest.raises(UserError, match="holds a list, not a dict"):
        read_motion(dump(tmp_path / "e.pkl", [1, 2]))
    with pytest.raises(UserError, match="expected keypoints2d"):
        read_keypoints(dump(tmp_path / "f.pkl", {"keypoints2d": np.zeros((9, 60, 25, 3))}), 1)
