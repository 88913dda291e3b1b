"""Write a contact sheet of rendered frames, to look at.

`python -m dataset_tools.demo.scene --sheet sheet.png` writes a contact sheet of random training frames.
"""

from pathlib import Path

import numpy as np

from dataset_tools.demo.render.scene import contact_sheet, pose_overlay
from dataset_tools.demo.train.training_frames import random_frame
from dataset_tools.lib.core.cli import command_parser, run
from dataset_tools.lib.core.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Write the contact sheet."""
    parser = command_parser("dataset_tools.demo.scene", __doc__)
    parser.add_argument("--sheet", type=Path, required=True, help="image file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=257, help="side of each frame in px")
    parser.add_argument("--count", type=int, default=24)
    args = parser.parse_args(argv)
    if args.count < 1:
        raise UserError(f"--count must be at least 1, found {args.count}")
    rng = np.random.default_rng(args.seed)
    frames = [random_frame(rng, args.size) for _ in range(args.count)]
    images = [pose_overlay(image, people) if i % 2 else image for i, (image, people) in enumerate(frames)]
    contact_sheet(args.sheet, images)
    return 0


if __name__ == "__main__":
    run(main)
