"""Read the annotation files of AIST++. They are pickles, so they are read by an unpickler that builds only numpy arrays."""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dataset_tools.lib.aist.array_pickle import PICKLE_ERRORS, RefusedPickle, load_arrays
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import ANNOTATION_BYTES, check_regular_file
from dataset_tools.lib.shard_io.shard_format import MOTION_WIDTH

ANNOTATION_FPS = 60
"""Annotated frames per second. The frame rate of the source videos differs a little; AIST++ resampled them."""
SMPL_JOINTS = 24
"""Joints of the SMPL body model."""
MAX_COORDINATE = 100_000.0
"""Largest coordinate of a joint, in px; one beyond it counts as missing."""


def read_arrays(path: Path, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays `needed` of a pickled dict, as float64. Only numpy arrays, numbers, strings and containers are built.

    Raises UserError for a missing file, one larger than `limits`, one that is not a pickle, a pickle that refers to anything but
    numpy arrays (it could run code), a missing key, and a value that is not a numeric array.
    """
    path = check_regular_file(path, ANNOTATION_BYTES)
    try:
        content = load_arrays(path)
    except RefusedPickle as err:
        raise UserError(f"{path}: refused, {err}; an AIST++ annotation holds numpy arrays only") from None
    except PICKLE_ERRORS as err:
        raise UserError(f"{path}: not a readable pickle ({type(err).__name__}); download it again") from None
    arrays = {}
    for key in needed:
        if key not in content:
            found = ", ".join(name[:40] for name in content if isinstance(name, str) and name.isprintable())
            raise UserError(f"{path}: '{key}' is missing; found {found or 'nothing'}")
        value = content[key]
        if not isinstance(value, (np.ndarray, float, int, np.number)) or np.asarray(value).dtype.kind not in "fiu":
            raise UserError(f"{path}: '{key}' must be an array of numbers, found {type(value).__name__}")
        arrays[key] = np.array(value, np.float64)
    return arrays


def compute_motion_features(poses: np.ndarray, translation: np.ndarray, scaling: float) -> np.ndarray:
    """SMPL motion (N, MOTION_WIDTH = 219) float32: translation over scaling (3), then 24 rotation matrices, row by row (216).

    poses: (N, 24, 3), axis-angle in radians. translation: (N, 3) in cm. scaling: cm per SMPL metre.

    Source: the preprocessing of mint (Li et al., ICCV 2021), which the paper follows, without mint's padding to 225.
    """
    matrices = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(len(poses), -1)
    with np.errstate(over="ignore"):  # it becomes infinite, which callers check
        features = np.concatenate([translation / scaling, matrices], axis=1).astype(np.float32)
    assert features.shape[1] == MOTION_WIDTH
    return features


def read_motion(path: Path) -> np.ndarray:
    """`compute_motion_features` of a file motions/<sequence>.pkl, (N, 219) float32 at 60 fps.

    Raises UserError as `read_arrays`, and for wrong shapes and numbers that are not finite.
    """
    content = read_arrays(path, ("smpl_poses", "smpl_trans", "smpl_scaling"))
    poses, translation, scaling = content["smpl_poses"], content["smpl_trans"], content["smpl_scaling"].reshape(-1)
    count = len(translation) if translation.ndim else 0
    if translation.shape != (count, 3) or poses.size != count * SMPL_JOINTS * 3 or count == 0 or scaling.size != 1:
        raise UserError(
            f"{path}: expected smpl_poses (N, 24, 3), smpl_trans (N, 3) and smpl_scaling (1,), found "
            f"{poses.shape}, {translation.shape} and {content['smpl_scaling'].shape}"
        )
    if not (np.isfinite(poses).all() and np.isfinite(translation).all() and 0 < scaling[0] < np.inf):
        raise UserError(f"{path}: has numbers that are not finite, or a scaling of {scaling[0]}")
    features = compute_motion_features(poses.reshape(count, SMPL_JOINTS, 3), translation, float(scaling[0]))
    if not np.isfinite(features).all():
        raise UserError(
            f"{path}: has rotations of up to {np.abs(poses).max():g} rad and positions of up to {np.abs(translation).max():g} cm, too large for float32"
        )
    return features


def read_keypoints(path: Path, camera: int) -> np.ndarray:
    """Keypoints of one camera (1 to 9) from a file keypoints2d/<sequence>.pkl: (N, 17, 3) float32 at 60 fps, in COCO order; x and y in
    px of the 1920 x 1080 video, confidence in 0..1. A joint with numbers that are not finite or too large is all zero.

    Raises UserError as `read_arrays`, and for wrong shapes.
    """
    points = read_arrays(path, ("keypoints2d",))["keypoints2d"]
    if points.ndim != 4 or points.shape[2:] != (17, 3) or points.shape[0] < camera or points.shape[1] == 0:
        raise UserError(f"{path}: expected keypoints2d (9 cameras, N, 17, 3), found {points.shape}")
    seen = points[camera - 1]
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(seen).all(axis=-1) & (np.abs(seen[..., :2]) < MAX_COORDINATE).all(axis=-1)
    seen = np.where(usable[..., None], seen, 0)
    seen[..., 2] = seen[..., 2].clip(0, 1)
    return seen.astype(np.float32)
