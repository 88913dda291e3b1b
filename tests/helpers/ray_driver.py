"""A stage of 40 clips on the cluster of RAY_ADDRESS, to be killed and run again: `ray_driver.py ROOT`.

Each item says by a file in ROOT/begun, named by the clip and its process, that it has begun; from the 20th on they wait for ROOT/gate.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from dataset_tools.lib.clip_arrays import ClipJob, compute_clips
from dataset_tools.lib.core.cluster import choose_cluster
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.schema import Row

CLIPS, FREE = 40, 20


def begin(job: ClipJob) -> int:
    return int(job.clip.id)


def work(job: ClipJob, number: int) -> None:
    (job.video / "begun" / f"{number}.{os.getpid()}").touch()
    while number >= FREE and not (job.video / "gate").exists():
        time.sleep(0.05)
    job.keep(np.full(3, number, np.float32))


def measure(job: ClipJob) -> dict:
    return {}


def main(root: Path) -> None:
    layout = Layout(root=root, corpus="c")
    clips = [Row(id=str(number), status="ok") for number in range(CLIPS)]
    jobs = [ClipJob(clip=clip, video=root, cache=layout.cache("i3d") / f"{clip.id}.npy") for clip in clips]
    choose_cluster("auto")
    compute_clips(
        layout, "i3d", clips, jobs, Row, begin=begin, work=work, measure=measure, facts={}, workers=1, timeout=300.0
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
