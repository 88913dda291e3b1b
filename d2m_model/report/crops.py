"""Shows how clips were cropped: a frame of each clip's compilation, darkened outside of the kept rectangle."""

import base64
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from dataset_tools.lib.video.upright import Upright
from dataset_tools.lib.video.video_io import probe, timed_frames

WIDTH = 200  # px of a picture


def crop_picture(video: Path, second: float, crop: tuple[int, int, int, int]) -> str:
    """Base64 JPEG of the upright frame at `second` of a video, darkened outside of crop (x, y, width, height) in px."""
    upright = Upright(probe(video).pixel_aspect)
    _, frame = next(timed_frames(video, second))
    image = upright(frame).to_ndarray(format="bgr24")
    scale = WIDTH / image.shape[1]
    small = cv2.resize(image, (WIDTH, round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    x, y, width, height = (round(v * scale) for v in crop)
    dark = (small * 0.35).astype(np.uint8)
    dark[y : y + height, x : x + width] = small[y : y + height, x : x + width]
    corner = (min(x + width, dark.shape[1]) - 1, min(y + height, dark.shape[0]) - 1)
    cv2.rectangle(dark, (x, y), corner, (60, 220, 60), 2)
    _, data = cv2.imencode(".jpg", dark, [cv2.IMWRITE_JPEG_QUALITY, 70])
    return base64.b64encode(data.tobytes()).decode()


def crop_cards(clips: pd.DataFrame, spans: pd.DataFrame, folder: Path) -> list[dict]:
    """{id, picture, text} for each cropped clip. clips: clips/rows.csv; spans: sources/clips.csv; folder: the downloaded videos.
    Clips without their video are left out."""
    begin = dict(zip(spans.clip_id, pd.to_numeric(spans.start, errors="coerce").fillna(0.0)))
    cards = []
    for row in clips[clips.status == "ok"].dropna(subset=["crop_x"]).itertuples():
        video = folder / f"{row.video_id}.mp4"
        if not video.is_file():
            continue
        crop = int(row.crop_x), int(row.crop_y), int(row.crop_w), int(row.crop_h)
        second = begin.get(row.id, 0.0) + row.frames / 60  # its middle
        text = f"kept {crop[2]} × {crop[3]} at ({crop[0]}, {crop[1]})"
        cards.append({"id": row.id, "picture": crop_picture(video, second, crop), "text": text})
    return cards
