"""A small AIST++ as its users have it: names, folders and files as published, danced by the demo's dancers.

Their joint angles drive a simple kinematic tree: the root's turn, hips, knees, shoulders and elbows of the SMPL body; the
other joints keep still. The keypoints are those of the demo's skeleton, seen by nine cameras in a circle.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from dataset_tools.demo.music.genres import GENRES as DEMO_GENRES
from dataset_tools.demo.music.songs import compose, synthesise
from dataset_tools.demo.render.choreography import choreograph
from dataset_tools.demo.render.skeleton import COCO_JOINTS, DOFS, Body, forward, rotation
from dataset_tools.lib.aist.corpus import ANNOTATED_SIZE
from dataset_tools.lib.aist.names import GENRES, parse_name
from dataset_tools.lib.video.video_io import rgb_frames, write_clip

RATE, SCALING = 60, 95.0  # frames a second; cm per SMPL metre
PICTURE = (256, 144)  # px; the published videos have 1920 x 1080, in which keypoints are given here too
LIMBS = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 6), (11, 12), (5, 11), (6, 12))
SMPL_JOINTS = {"hip": (1, 2), "knee": (4, 5), "shoulder": (16, 17), "elbow": (18, 19)}  # left, right


def smpl_poses(angles: np.ndarray) -> np.ndarray:
    """(N, 72) axis-angle of the demo's joint angles (N, D); the SMPL body rests in a T-pose."""
    a = {name: angles[:, k] for k, name in enumerate(DOFS)}
    turns = np.tile(np.eye(3), (len(angles), 24, 1, 1))
    turns[:, 0] = rotation("y", a["yaw"]) @ rotation("z", a["sway"])
    turns[:, 3] = rotation("z", a["roll"]) @ rotation("x", a["pitch"])
    turns[:, 15] = rotation("y", a["hyaw"]) @ rotation("x", a["hpitch"]) @ rotation("z", a["hroll"])
    for k, (side, sign) in enumerate((("l", 1.0), ("r", -1.0))):
        turns[:, SMPL_JOINTS["hip"][k]] = rotation("z", sign * a[side + "hab"]) @ rotation("x", -a[side + "hfl"])
        turns[:, SMPL_JOINTS["knee"][k]] = rotation("x", a[side + "kn"])
        turns[:, SMPL_JOINTS["shoulder"][k]] = rotation("z", sign * (a[side + "ab"] - 90)) @ rotation(
            "x", -a[side + "fl"]
        )
        turns[:, SMPL_JOINTS["elbow"][k]] = rotation("y", sign * a[side + "tw"]) @ rotation("x", -a[side + "el"])
    return Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec().reshape(len(angles), 72)


def keypoints(joints: np.ndarray, camera: int) -> np.ndarray:
    """(N, 17, 3) x px, y px, confidence of 3-D joints (N, 24, 3) in body heights, seen by camera 1 to 9."""
    seen = joints[:, :COCO_JOINTS] @ rotation("y", 40.0 * (camera - 1)).T
    x = ANNOTATED_SIZE[0] / 2 + 0.7 * ANNOTATED_SIZE[1] * seen[..., 0]
    y = 0.92 * ANNOTATED_SIZE[1] - 0.7 * ANNOTATED_SIZE[1] * seen[..., 1]
    return np.stack([x, y, np.full_like(x, 0.9)], axis=-1)


def draw(points: np.ndarray) -> np.ndarray:
    """(144, 256, 3) a stick figure of keypoints (17, 3)."""
    image = np.full((PICTURE[1], PICTURE[0], 3), 190, np.uint8)
    at = (points[:, :2] * PICTURE[0] / ANNOTATED_SIZE[0]).astype(int)
    for first, second in LIMBS:
        cv2.line(image, tuple(map(int, at[first])), tuple(map(int, at[second])), (40, 40, 90), 3)
    return image


def write_sequence(folder: Path, video: str, seconds: float, seed: int = 0) -> None:
    """One video with its two annotation files. Clips of one music have one song, and each its own dance."""
    name = parse_name(video)
    genre = list(DEMO_GENRES)[list(GENRES).index(name.genre) % len(DEMO_GENRES)]
    score = compose(sum(name.music.encode()), genre, tempo=float(name.tempo), seconds=20.0)
    angles = choreograph(score, 8.0, 8.0 + seconds, seed=seed, move_seed=sum(video.encode()), fps=RATE)
    joints = forward(Body(), angles).joints
    cameras = np.stack([keypoints(joints, camera) for camera in range(1, 10)])
    music = synthesise(score, 44100)[8 * 44100 : round((8 + seconds) * 44100)]
    pcm = np.tile((32767 * 0.8 * music).astype(np.int16), (2, 1))
    for part in ("videos", "motions", "keypoints2d"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    options = {"preset": "ultrafast", "crf": "23", "x264-params": "threads=1"}
    pictures = rgb_frames(draw(points) for points in cameras[name.camera - 1])
    write_clip(folder / "videos" / f"{video}.mp4", pictures, pcm, 44100, fps=RATE, audio_codec="aac", options=options)
    motion = {
        "smpl_loss": 0.01,
        "smpl_poses": smpl_poses(angles),
        "smpl_scaling": np.array([SCALING]),
        "smpl_trans": joints[:, 21] * 170.0,  # the pelvis, in cm
    }
    points = {
        "keypoints2d": cameras,
        "det_scores": np.full(cameras.shape[:2], 0.99),
        "timestamps": np.arange(len(angles)) * 1e6 / RATE,
    }
    for part, content in (("motions", motion), ("keypoints2d", points)):
        (folder / part / f"{name.sequence}.pkl").write_bytes(pickle.dumps(content, protocol=2))


def write_set(root: Path, corpus: str, videos: Mapping[str, str], seconds: Mapping[str, float]) -> None:
    """manifests/<corpus> and external/<corpus> under `root`. videos: name -> part of the split; seconds: part -> length.
    As in the published manifest, val is known from splits/crossmodal_val.txt alone."""
    folder, manifest = root / "external" / corpus, root / "manifests" / corpus
    manifest.mkdir(parents=True)
    listed = [video for video, part in videos.items() if part != "val"]
    names = [parse_name(video) for video in listed]
    _csv(manifest / "videos.csv", "video_id,url,title", [f"{video},," for video in listed])
    header = "clip_id,video_id,song_id,start,end,dancers,official_split"
    _csv(manifest / "clips.csv", header, [f"{n.text},{n.text},{n.music},,,1,{videos[n.text]}" for n in names])
    _csv(manifest / "songs.csv", "song_id,genre,tempo", sorted({f"{n.music},{n.genre},{n.tempo}" for n in names}))
    for number, (video, part) in enumerate(videos.items()):
        write_sequence(folder, video, seconds[part], seed=number)
    for part in ("train", "val", "test"):
        (folder / "splits").mkdir(exist_ok=True)
        lines = [parse_name(video).sequence for video in videos if videos[video] == part]
        (folder / "splits" / f"crossmodal_{part}.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "ignore_list.txt").write_text("gBR_sBM_cAll_d04_mBR0_ch05\n")


def _csv(path: Path, header: str, rows: Sequence[str]) -> None:
    path.write_text("\n".join([header, *rows]) + "\n")
