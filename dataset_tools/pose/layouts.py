"""Joint layouts: convert the keypoints of a model to the joints that are stored.

`coco17`: COCO's 17 keypoints, nose to ankles. `body25`: OpenPose's BODY_25, in the order of its poseParameters.cpp, computed
from OpenPifPaf's 133 whole-body keypoints (0-16 COCO, 17-22 feet). Its neck and mid-hip are means of two joints.
"""

import numpy as np

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io.shard_format import JOINTS

COCO, WHOLE_BODY = 17, 133  # number of keypoints of the supported models
XY_STEPS, CONFIDENCE_STEPS = 16, 256  # resolution of stored poses, per px and per unit of confidence

COCO17 = tuple(range(COCO))
NECK, MID_HIP = (5, 6), (11, 12)  # means of the shoulders and of the hips
BODY25 = (0, NECK, 6, 8, 10, 5, 7, 9, MID_HIP, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 18, 19, 20, 21, 22)
SOURCES = {"coco17": COCO17, "body25": BODY25}
"""For each joint of a layout: its keypoint, or the pair of keypoints whose mean it is."""
MIN_KEYPOINTS = {"coco17": COCO, "body25": WHOLE_BODY}
"""Number of keypoints that a model must have for a layout."""
ANKLES = {17: [15, 16], 25: [11, 14]}
"""Number of joints J -> left and right ankle."""
assert {name: len(sources) for name, sources in SOURCES.items()} == JOINTS


def to_layout(keypoints: np.ndarray, layout: str) -> np.ndarray:
    """Keypoints (..., K, 3) of a model with K = 17 or 133 -> joints (..., J, 3) float32: x px, y px, confidence 0..1.

    The mean of two joints has the lower of their confidences, and is missing (0, 0, 0) if one of them is. A COCO model has no feet,
    so joints 19 to 24 of body25 are then missing.

    Raises UserError for an unknown layout or another K.
    """
    if layout not in SOURCES:
        raise UserError(f"pose layout must be one of {', '.join(SOURCES)}, found '{layout}'")
    count = keypoints.shape[-2]
    if count not in (COCO, WHOLE_BODY):
        raise UserError(
            f"pose model has {count} keypoints; layouts are known for {COCO} (COCO) and {WHOLE_BODY} (whole body)"
        )
    out = np.zeros((*keypoints.shape[:-2], JOINTS[layout], 3), np.float32)
    for joint, source in enumerate(SOURCES[layout]):
        if isinstance(source, tuple):
            pair = keypoints[..., source, :]
            confidence = pair[..., 2].min(-1)
            middle = np.concatenate([pair[..., :2].mean(-2), confidence[..., None]], -1)
            out[..., joint, :] = np.where(confidence[..., None] > 0, middle, 0)
        elif source < count:
            out[..., joint, :] = keypoints[..., source, :]
    return out


def quantise(keypoints: np.ndarray) -> np.ndarray:
    """Round joints (..., 3) to 1/16 px and 1/256 of confidence, so that numerical noise does not change stored bytes."""
    xy = np.rint(keypoints[..., :2] * XY_STEPS) / XY_STEPS
    confidence = np.rint(np.clip(keypoints[..., 2:], 0, 1) * CONFIDENCE_STEPS) / CONFIDENCE_STEPS
    return np.where(confidence > 0, np.concatenate([xy, confidence], -1), 0).astype(np.float32) + np.float32(0)
