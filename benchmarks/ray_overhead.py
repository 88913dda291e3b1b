"""What Ray costs: items a second that do nothing, and the driver's memory over them: python -m benchmarks.ray_overhead

The cluster is the one that `auto` finds or starts. Writes --out, by default benchmarks/results/ray_overhead.json.
"""

import json
import os
import platform
import re
import time
from pathlib import Path

from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.cluster import choose_cluster
from dataset_tools.lib.core.progress import watch_progress
from dataset_tools.lib.parallel.ray_connection import connect
from dataset_tools.lib.parallel.workers import run_all


def nothing(item: int) -> int:
    return item


def processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def resident() -> float:
    """MB of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(count: int) -> dict:
    """Rates and memory of a run over `count` items."""
    seen: list[tuple[float, float, float]] = []  # seconds, items, MB

    def look(label: str, done: float, total: float | None, unit: str) -> None:
        if done:
            seen.append((time.perf_counter(), done, resident()))

    items = list(range(count))
    begun = time.perf_counter()
    with watch_progress(look):
        assert run_all(nothing, items, 1, "nothing", unit="item") == items
    whole = time.perf_counter() - begun
    first, last = seen[0], seen[-1]
    tenths = [next(mb for _, done, mb in seen if done >= count * part / 10) for part in range(1, 11)]
    return {
        "items": count,
        "seconds": round(whole, 1),
        "seconds_to_first": round(first[0] - begun, 1),
        "items_a_second": round((last[1] - first[1]) / (last[0] - first[0])),
        "driver_mb_at_tenths": [round(mb, 1) for mb in tenths],
    }


def main() -> None:
    import ray

    parser = command_parser("benchmarks.ray_overhead", __doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ray_overhead.json"))
    args = parser.parse_args()
    choose_cluster("auto")
    with connect("auto"):
        cpus = ray.cluster_resources().get("CPU", 0)
        load = os.getloadavg()[0]
        found = {
            "processor": processor(),
            "cpus": cpus,
            "load_before": round(load, 1),
            "ray": ray.__version__,
        } | measure(args.items)
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
