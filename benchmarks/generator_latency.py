"""Measures how long a full-size model takes to generate the codes of 2 s of music, with weights fused for inference and not.

    python -m benchmarks.generator_latency --threads 2 --level high

One window at a time, like in generation for a video. Prints the median and the least wall time and the least CPU time, in
seconds; on a busy machine the CPU time with --threads 1 is the most reliable. `condition to codes` is the code generator only,
`dance to codes` includes the motion encoder.
"""

import statistics
import time
from collections.abc import Callable

import torch

from d2m_model.nets.dance_to_codes import VISUAL, DanceToCodes
from d2m_model.nets.fusing import fuse_for_inference
from d2m_model.nets.presets import PRESETS
from dataset_tools.lib.core.cli import command_parser


def seconds(work: Callable[[], object], runs: int) -> str:
    """Text with the median and the least time and the least CPU time of `runs` runs, after a warm-up."""
    work()
    taken, computed = [], []
    for _ in range(runs):
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        taken.append(time.perf_counter() - start)
        computed.append(time.process_time() - start_cpu)
    return f"{statistics.median(taken):.3f} / {min(taken):.3f} / {min(computed):.3f}"


def main() -> None:
    parser = command_parser("benchmarks.generator_latency", __doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--level", choices=("high", "low"), default="high")
    parser.add_argument("--joints", type=int, default=25, help="of the pose layout")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(
        f"level {args.level}, width 1, {args.threads} threads, {args.runs} runs: median / fastest / CPU seconds for 2 s of codes\n"
    )
    print("| preset | parameters | weights | condition to codes | dance to codes |\n|:-|-:|:-|-:|-:|")
    pose, visual = torch.rand(1, 60, args.joints, 3) * 300, torch.rand(1, VISUAL)
    for name, preset in PRESETS.items():
        net = DanceToCodes(preset, args.level, frames=60, joints=args.joints).eval().requires_grad_(False)
        with torch.inference_mode():
            for weights in ("as trained", "fused") if name == "released" else ("plain",):  # others have no weight norm
                net = fuse_for_inference(net) if weights == "fused" else net
                millions = sum(p.numel() for p in net.parameters()) / 1e6
                generator = seconds(_generator(net, pose, visual), args.runs)
                whole = seconds(lambda net=net: net(pose, (204, 360), visual), args.runs)
                print(f"| {name} | {millions:.1f} M | {weights} | {generator} | {whole} |", flush=True)


def _generator(net: DanceToCodes, pose: torch.Tensor, visual: torch.Tensor) -> Callable[[], object]:
    """A function that runs only the code generator, on the condition that the motion encoder gives."""
    if net.preset.generator == "temporal":
        motion = torch.rand(1, net.motion_encoder.features, pose.shape[1])
        return lambda: net.generator(motion, visual, net.code_count(pose.shape[1]))
    condition = torch.rand(1, net.generator.lin.in_features)
    return lambda: net.generator(condition)


if __name__ == "__main__":
    main()
