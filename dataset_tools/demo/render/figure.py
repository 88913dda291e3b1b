"""Draw a dancer: shaded capsules, sorted by depth, and a map of the body part at each pixel."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from dataset_tools.demo.render import skeleton as sk
from dataset_tools.demo.render.skeleton import Body, Posture

_SHIFT = 4  # fractional bits of OpenCV's sub-pixel coordinates
_ONE = 1 << _SHIFT

SHOWS = {  # part -> the COCO joints one sees when one sees that part at the joint's pixel
    "torso": (sk.LSHOULDER, sk.RSHOULDER, sk.LHIP, sk.RHIP),
    "neck": (),
    "head": (sk.NOSE, sk.LEYE, sk.REYE, sk.LEAR, sk.REAR),
    "l_upper_arm": (sk.LSHOULDER, sk.LELBOW), "r_upper_arm": (sk.RSHOULDER, sk.RELBOW),
    "l_forearm": (sk.LELBOW, sk.LWRIST), "r_forearm": (sk.RELBOW, sk.RWRIST),
    "l_hand": (sk.LWRIST,), "r_hand": (sk.RWRIST,),
    "l_thigh": (sk.LHIP, sk.LKNEE), "r_thigh": (sk.RHIP, sk.RKNEE),
    "l_shin": (sk.LKNEE, sk.LANKLE), "r_shin": (sk.RKNEE, sk.RANKLE),
    "l_foot": (sk.LANKLE,), "r_foot": (sk.RANKLE,),
}  # fmt: skip
PARTS = tuple(SHOWS)
_SHOWN = np.array([[joint in SHOWS[part] for part in PARTS] for joint in range(sk.COCO_JOINTS)])  # (17, parts)

_FACING = {  # a face point turned further away than this (z of its direction, to the viewer) does not exist, as in COCO
    sk.NOSE: ((0.0, 0.0, 1.0), 0.0),
    sk.LEYE: ((0.36, 0.2, 0.88), 0.05),
    sk.REYE: ((-0.36, 0.2, 0.88), 0.05),
    sk.LEAR: ((1.0, 0.0, 0.0), -0.5),
    sk.REAR: ((-1.0, 0.0, 0.0), -0.5),
}


@dataclass(frozen=True)
class Appearance:
    """Clothes, hair and light. Colours are RGB float (3,) in 0..255; `light` is the direction of the highlight in px."""

    skin: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    trousers: np.ndarray
    shoes: np.ndarray
    stripe: np.ndarray
    light: np.ndarray
    sleeves: str = "short"  # none | short | long
    legs: str = "long"  # shorts | long
    hair_style: str = "short"  # short | long | bun | cap
    stripes: int = 0
    skirt: bool = False

    @staticmethod
    def random(rng: np.random.Generator) -> "Appearance":
        """A random appearance."""
        angle = rng.uniform(0, 2 * np.pi)
        return Appearance(
            skin=skin_colour(rng), hair=skin_colour(rng) * rng.uniform(0.08, 0.7), shirt=colour(rng),
            trousers=colour(rng), shoes=colour(rng), stripe=colour(rng),
            light=np.array([np.cos(angle), np.sin(angle) - 0.6]) / 1.3,
            sleeves=str(rng.choice(["none", "short", "long"], p=[0.2, 0.45, 0.35])),
            legs=str(rng.choice(["shorts", "long"], p=[0.3, 0.7])),
            hair_style=str(rng.choice(["short", "long", "bun", "cap"], p=[0.4, 0.35, 0.15, 0.1])),
            stripes=int(rng.integers(2, 5)) if rng.random() < 0.2 else 0, skirt=bool(rng.random() < 0.18),
        )  # fmt: skip


def colour(rng: np.random.Generator) -> np.ndarray:
    """A random colour for clothes or furniture, RGB (3,) in 0..255."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.95) ** 1.2, rng.uniform(0.08, 0.98))) * 255


def skin_colour(rng: np.random.Generator) -> np.ndarray:
    """A random skin colour, RGB (3,) in 0..255."""
    return np.array(colorsys.hsv_to_rgb(rng.uniform(0.03, 0.10), rng.uniform(0.25, 0.65), rng.uniform(0.3, 0.98))) * 255


def draw_dancer(image: np.ndarray, parts: np.ndarray, first: int, body: Body, look: Appearance, posture: Posture,
         camera: np.ndarray, place: np.ndarray, scale: float) -> np.ndarray:  # fmt: skip
    """Draw a dancer over `image` (H, W, 3) uint8 RGB and write part ids `first + k` into `parts` (H, W) uint8.

    camera: (3, 3), rotates the world to the view (orthographic). place: (2,), the floor point x = z = 0, in px. scale: px per body
    height.

    Returns keypoints (17, 3): x px, y px, and 2, or 0 for a face point that is turned away. Occlusion is only known when everything
    is drawn: see `visibility`.
    """
    view = posture.joints @ camera.T
    points = np.asarray(place) + view[:, :2] * (scale, -scale)
    depth = view[:, 2]
    head = camera @ posture.head
    items = _limbs(image, parts, first, body, look, points, depth, scale)
    items.append(_torso(image, parts, first, body, look, points, depth, scale))
    items.extend(_head(image, parts, first, body, look, points, depth, scale, head))
    for _, paint in sorted(items, key=lambda item: item[0]):
        paint()

    keypoints = np.full((sk.COCO_JOINTS, 3), 2.0)
    keypoints[:, :2] = points[: sk.COCO_JOINTS]
    for joint, (direction, least) in _FACING.items():
        if head[2] @ direction < least:
            keypoints[joint, 2] = 0.0
    return keypoints


def visibility(parts: np.ndarray, first: int, keypoints: np.ndarray) -> np.ndarray:
    """Keypoints (17, 3) with their final COCO visibility: 2 visible, 1 occluded, 0 out of frame or turned away (x = y = 0)."""
    height, width = parts.shape
    out = keypoints.copy()
    x, y = np.floor(out[:, 0] + 0.5).astype(int), np.floor(out[:, 1] + 0.5).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (out[:, 2] > 0)
    owner = parts[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].astype(int) - first
    own = (owner >= 0) & (owner < len(PARTS))
    seen = own & _SHOWN[np.arange(sk.COCO_JOINTS), np.where(own, owner, 0)]
    out[:, 2] = np.where(inside, np.where(seen, 2.0, 1.0), 0.0)
    out[~inside, :2] = 0.0
    return out


def capsule_outlines(
    starts: np.ndarray, ends: np.ndarray, start_radii: np.ndarray, end_radii: np.ndarray
) -> np.ndarray:
    """Outlines (C, 14, 2) px of C tapered capsules; starts, ends (C, 2); radii (C,)."""
    axis = ends - starts
    length = np.hypot(axis[:, 0], axis[:, 1])[:, None]
    axis = np.where(length > 1e-6, axis / np.maximum(length, 1e-6), (1.0, 0.0))
    normal = np.stack([-axis[:, 1], axis[:, 0]], axis=1)
    turn = np.linspace(-np.pi / 2, np.pi / 2, 7)
    ahead = np.cos(turn)[:, None] * axis[:, None] + np.sin(turn)[:, None] * normal[:, None]
    behind = -ahead
    return np.concatenate(
        [ends[:, None] + ahead * end_radii[:, None, None], starts[:, None] + behind * start_radii[:, None, None]],
        axis=1,
    )


# Shading: a dark rim, the colour itself shifted to the light, a highlight. (scale, shift in radii, brightness, added)
_LAYERS = ((1.0, 0.0, 0.78, 0.0), (0.78, 0.18, 1.0, 0.0), (0.36, 0.42, 1.17, 8.0))


def _fill(image: np.ndarray, outline: np.ndarray, tint: np.ndarray) -> None:
    cv2.fillConvexPoly(image, _fixed(outline), tint.tolist(), cv2.LINE_AA, _SHIFT)


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(points) * _ONE).astype(np.int32)


def draw_capsule(image: np.ndarray, parts: np.ndarray | None, part: int, outlines: np.ndarray, tint: np.ndarray,
                   highlight: bool) -> None:  # fmt: skip
    """Paint outlines (3, 14, 2) px, one per shading layer, in `tint` (3,) and mark their pixels as `part`."""
    for outline, (_, _, bright, add) in zip(outlines[: 3 if highlight else 2], _LAYERS):
        _fill(image, outline, np.minimum(tint * bright + add, 255.0))
    if parts is not None:
        cv2.fillConvexPoly(parts, _fixed(outlines[0]), part, cv2.LINE_8, _SHIFT)


def layer_outlines(starts: np.ndarray, ends: np.ndarray, start_radii: np.ndarray, end_radii: np.ndarray,
            light: np.ndarray) -> np.ndarray:  # fmt: skip
    """The outlines (3, C, 14, 2) of the shading layers of C capsules."""
    return np.stack([
        capsule_outlines(starts + light * shift * start_radii[:, None], ends + light * shift * end_radii[:, None],
                 start_radii * size, end_radii * size)
        for size, shift, _, _ in _LAYERS
    ])  # fmt: skip


def _limbs(image, parts, first, body, look, points, depth, scale):
    """(depth, paint function) of each limb. A sleeve is a shorter, slightly thicker capsule over the same part."""
    g = body.girth * scale
    mid = lambda i, j, w=0.5: points[i] * (1 - w) + points[j] * w
    rows = []  # part, depth, start, end, radii, colour
    for side, k in (("l_", 0), ("r_", 1)):
        S, E, W, H = sk.LSHOULDER + k, sk.LELBOW + k, sk.LWRIST + k, sk.LHAND + k  # noqa: N806 - joints
        Hip, K, A, T = sk.LHIP + k, sk.LKNEE + k, sk.LANKLE + k, sk.LTOE + k  # noqa: N806
        arm, fore = (depth[S] + depth[E]) / 2, (depth[E] + depth[W]) / 2 + 0.01
        sleeve = look.shirt if look.sleeves == "long" else look.skin
        rows.append((side + "upper_arm", arm, points[S], points[E], 0.031 * g, 0.027 * g, sleeve))
        if look.sleeves == "short":
            rows.append((side + "upper_arm", arm, points[S], mid(S, E, 0.55), 0.034 * g, 0.033 * g, look.shirt))
        rows.append((side + "forearm", fore, points[E], points[W], 0.026 * g, 0.017 * g, sleeve))
        rows.append((side + "hand", depth[H] + 0.012, mid(W, H, 0.2), points[H], 0.017 * g, 0.021 * g, look.skin))
        thigh, shin = (depth[Hip] + depth[K]) / 2, (depth[K] + depth[A]) / 2
        bare = look.legs == "shorts" or look.skirt
        leg = look.skin if bare else look.trousers
        rows.append((side + "thigh", thigh, points[Hip], points[K], 0.047 * g, 0.033 * g, leg))
        if look.legs == "shorts":
            rows.append((side + "thigh", thigh, points[Hip], mid(Hip, K, 0.6), 0.050 * g, 0.045 * g, look.trousers))
        rows.append(
            (side + "shin", shin + (-0.005 if bare else 0.005), points[K], points[A], 0.033 * g, 0.021 * g, leg)
        )
        rows.append((side + "foot", (depth[A] + depth[T]) / 2, points[A], points[T], 0.023 * g, 0.019 * g, look.shoes))
    rows.append(
        ("neck", depth[sk.CHEST] - 0.01, points[sk.CHEST], points[sk.HEAD], 0.029 * g, 0.027 * g, look.skin * 0.9)
    )

    names, depths, starts, ends, start_radii, end_radii, tints = zip(*rows)
    first_radii, last_radii = np.maximum(start_radii, 0.8), np.maximum(end_radii, 0.8)
    outlines = layer_outlines(np.array(starts), np.array(ends), first_radii, last_radii, look.light)
    return [
        (z, lambda c=c, name=name, tint=tint: draw_capsule(
            image, parts, first + PARTS.index(name), outlines[:, c], tint, start_radii[c] > 3))
        for c, (z, name, tint) in enumerate(zip(depths, names, tints))
    ]  # fmt: skip


_RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


def _hull(centres: list[np.ndarray], radii: list[float]) -> np.ndarray:
    ring = np.concatenate([c + r * _RING for c, r in zip(centres, radii)])
    return cv2.convexHull(ring.astype(np.float32))[:, 0]


def _torso(image, parts, first, body, look, points, depth, scale):
    """(depth, paint function) of the torso: hips in the colour of the trousers, chest in that of the shirt, maybe stripes and a skirt."""
    g = body.girth * scale
    part = first + PARTS.index("torso")
    ls, rs, lh, rh = (points[j] for j in (sk.LSHOULDER, sk.RSHOULDER, sk.LHIP, sk.RHIP))
    lw, rw = ls * 0.42 + lh * 0.58, rs * 0.42 + rh * 0.58
    centre = (lw + rw) / 2
    lw, rw = centre + (lw - centre) * 0.72, centre + (rw - centre) * 0.72  # the waist
    shape = lambda *c: _hull([p for p, _ in c], [r * g for _, r in c])

    def solid(outline, tint):
        middle = outline.mean(axis=0)
        for size, shift, bright, add in _LAYERS:
            grown = (
                (outline - middle) * (size * 0.5 + 0.5 if size < 1 else 1.0) + middle + look.light * shift * 0.05 * g
            )
            _fill(image, grown, np.minimum(tint * bright + add, 255.0))
        cv2.fillConvexPoly(parts, _fixed(outline), part, cv2.LINE_8, _SHIFT)

    def paint():
        solid(shape((lh, 0.043), (rh, 0.043), (lw, 0.040), (rw, 0.040)), look.trousers)
        if look.skirt:
            lk, rk = (points[h] * 0.5 + points[k] * 0.5 for h, k in ((sk.LHIP, sk.LKNEE), (sk.RHIP, sk.RKNEE)))
            solid(shape((lw, 0.036), (rw, 0.036), (lk, 0.070), (rk, 0.070)), look.trousers * 0.95)
        solid(shape((ls, 0.032), (rs, 0.032), (lw, 0.041), (rw, 0.041)), look.shirt)
        for t in np.linspace(0.15, 0.9, look.stripes) if look.stripes else ():
            a, b = _fixed(ls * (1 - t) + lw * t), _fixed(rs * (1 - t) + rw * t)
            cv2.line(image, a.tolist(), b.tolist(), look.stripe.tolist(), max(1, round(0.014 * g)), cv2.LINE_AA, _SHIFT)

    return depth[[sk.LSHOULDER, sk.RSHOULDER, sk.LHIP, sk.RHIP]].mean() + 0.015, paint


def _head(image, parts, first, body, look, points, depth, scale, head):
    """(depth, paint function) of the head (hair, face, ears, eyes, nose, mouth) and of long hair behind it."""
    r = body.head * scale
    to_image = np.array([1.0, -1.0])
    side, up, front = (head[:2, k] * to_image for k in range(3))
    facing = head[2, 2]
    tilt = float(np.degrees(np.arctan2(head[0, 1], head[1, 1])))
    hair, skin = look.hair, look.skin
    skull = points[sk.HEAD]

    def ellipse(centre, width, height, tint, buffer=image, line=cv2.LINE_AA):
        cv2.ellipse(
            buffer,
            _fixed(centre).tolist(),
            _fixed(np.array((width * r, height * r))).tolist(),
            tilt,
            0,
            360,
            tint,
            -1,
            line,
            _SHIFT,
        )

    def dot(centre, radius, tint):
        cv2.circle(image, _fixed(centre).tolist(), round(radius * _ONE), tint, -1, cv2.LINE_AA, _SHIFT)

    def paint():
        back = skull + (up * 0.18 - front * 0.30) * r
        ellipse(back, 1.06, 1.12, (hair * 0.8).tolist())
        if look.hair_style == "bun":
            dot(back + (up * 1.05 - front * 0.4) * r, 0.5 * r, (hair * 0.9).tolist())
        ellipse(skull, 1.0, 1.12, first + PARTS.index("head"), parts, cv2.LINE_8)
        if facing > -0.35:
            face = skull + (front * 0.42 - up * 0.10) * r  # in profile it reaches the nose
            width = float(np.clip(0.58 + 0.34 * facing, 0.4, 0.92))
            ellipse(face, width, 1.02, (skin * 0.8).tolist())
            ellipse(face, width, 1.02, first + PARTS.index("head"), parts, cv2.LINE_8)
            ellipse(face + look.light * 0.12 * r, width * 0.8, 0.86, skin.tolist())
        if look.hair_style != "long":
            for ear, sign in ((sk.LEAR, 1), (sk.REAR, -1)):
                if sign * head[2, 0] > -0.45:
                    dot(points[ear], max(0.8, 0.2 * r), (skin * 0.85).tolist())
        if look.hair_style == "cap":
            ellipse(skull + (up * 0.62 - front * 0.05) * r, 1.02, 0.62, look.shirt.tolist())
            ellipse(skull + (up * 0.42 + front * 0.85) * r, 0.55, 0.16, (look.shirt * 0.8).tolist())
        for eye in (sk.LEYE, sk.REYE):
            if head[2] @ sk.FACE_OFFSETS[eye] > 0.1:
                if r > 7:
                    dot(points[eye], 0.16 * r, (235.0, 235.0, 235.0))
                dot(points[eye], max(0.7, 0.11 * r), (25.0, 20.0, 20.0))
        if facing > -0.05:
            dot(points[sk.NOSE], max(0.7, 0.13 * r), (skin * 0.62).tolist())
            mouth = points[sk.NOSE] - (up * 0.45 + front * 0.12) * r
            a, b = _fixed(mouth - side * 0.28 * r).tolist(), _fixed(mouth + side * 0.28 * r).tolist()
            cv2.line(image, a, b, (120.0, 40.0, 45.0), max(1, round(0.12 * r)), cv2.LINE_AA, _SHIFT)

    def mane():
        ellipse(skull - (front * 0.45 + up * 0.75) * r, 1.02, 1.35, (hair * 0.7).tolist())

    items = [(depth[sk.HEAD] + 0.02, paint)]
    if look.hair_style == "long":  # falls in front of the back that is turned to us, else behind neck and shoulders
        items.append((depth[sk.HEAD] + (0.03 if facing < -0.35 else -0.5 * body.head - 0.04), mane))
    return items
