"""Measures how long a person waits in the studio, and the memory that a long video takes.

    python -m benchmarks.studio_times --root CLONE [--corpus demo] [--long]

With the models of a finished corpus in --root: seconds from the drop of a 10 s dance (rendered, of no corpus) to its first music;
seconds to make a region of 2 s anew; how fast the page is answered while a job computes; and, with Chromium, how far picture and
audio are apart while both play and in the half second after a jump or a loop's end, how long the audio waits for the picture after a
jump, and how long no new frame is seen at a loop's end. --long: also the memory of server and worker together for 10 minutes of
1080p. Jobs go to a scratch folder. Writes benchmarks/results/studio_times.json.
"""

import json
import os
import platform
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import av
import numpy as np
import psutil

from benchmarks.own_video_60s import render
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from tests.helpers.studio_server import Studio

RESULT = Path(__file__).parent / "results" / "studio_times.json"
TIMES = 3
JUMPS = 20
LOOP, LOOP_ENDS = (2.0, 4.0), 20
AFTER = 0.5
"""Seconds after a jump or a loop's end that are measured by themselves."""
RECORD = """() => {
  const video = document.getElementById('video'), start = AudioBufferSourceNode.prototype.start;
  let since = 0;
  window.jump = place => {
    const seek = document.getElementById('seek');
    [window.apart, window.soundAfter, since] = [[], null, performance.now()];
    seek.value = place;
    seek.dispatchEvent(new Event('input'));
  };
  AudioBufferSourceNode.prototype.start = function (when, place) {
    window.soundAfter ??= (performance.now() - since) / 1000 + when - this.context.currentTime;
    return start.call(this, when, place);
  };
  const seen = () => {
    setTimeout(() => { if (window.soundAfter !== null && window.apart) window.apart.push([(performance.now() - since) / 1000, window.studioDrift()]); });
    video.requestVideoFrameCallback(seen);
  };
  seen();
}"""
"""Keeps, after `jump`, [seconds since then, picture minus audio] of each frame that is seen with its audio, and when the audio begins."""
LOOPED = """() => {
  const latest = new Map(), seen = window.seenFrames = [];
  let last = null, before = 0;
  const watch = video => video.requestVideoFrameCallback((now, { mediaTime, expectedDisplayTime }) => {
    latest.set(video, [(expectedDisplayTime || now) / 1000, mediaTime]);
    watch(video);
  });
  const look = now => {
    const video = document.querySelector('#picture video:not([aria-hidden=true])'), frame = latest.get(video);
    if (frame && last && video !== last[0]) frame.splice(0, 2, (2 * now - before) / 1000, null);
    if (frame && (video !== last?.[0] || frame !== last[1])) seen.push([...frame, window.studioPlace(1000 * frame[0])]);
    if (frame) last = [video, frame];
    before = now;
    requestAnimationFrame(look);
  };
  document.querySelectorAll('#picture video').forEach(watch);
  look(performance.now());
}"""
"""Keeps [when, its time, the place that is heard], all in seconds, of each frame that is seen. One that was drawn unseen, and is shown
when two <video> elements change places (one interval of the screen later), has no time: it may have been due up to a frame before."""


def scratch_root(root: Path, corpus: str, scratch: Path) -> Path:
    """A working folder with links to a corpus's models, so that jobs are written elsewhere."""
    layout, copy = Layout(root=root.resolve(), corpus=corpus), Layout(root=scratch, corpus=corpus)
    for path in (
        layout.root / "manifests",
        *(layout.stage(stage) for stage in ("rhythm", "prior", "synthesizer", "shards", "clips")),
    ):
        target = scratch / path.relative_to(layout.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    shutil.copy(layout.params, copy.params)
    return scratch


def dropped(studio: Studio, video: Path) -> tuple[str, dict[str, float]]:
    """(job, seconds from the drop to the end of each step)."""
    begun, ends = time.perf_counter(), {}
    job = studio.ask("POST", f"/api/jobs?name={video.name}", data=video.read_bytes())["id"]
    while len(ends) < 4:
        for step, found in studio.job(job)["steps"].items():
            assert found["state"] not in ("failed", "cancelled"), found
            if found["state"] == "done" and step not in ends:
                ends[step] = round(time.perf_counter() - begun, 1)
        time.sleep(0.05)
    return job, ends


def remade(studio: Studio, job: str, seed: int) -> float:
    """Seconds to make 2 s of the first take anew."""
    begun = time.perf_counter()
    studio.ask("POST", f"/api/jobs/{job}/takes", {"from": 1, "redo": [4.0, 6.0], "seed": seed})
    while studio.job(job)["busy"]:
        time.sleep(0.02)
    return round(time.perf_counter() - begun, 2)


def answers(studio: Studio, job: str, video: Path) -> dict[str, float]:
    """Milliseconds of the page's requests while another video is worked on."""
    other, ends, taken = [], threading.Event(), []
    threading.Thread(target=lambda: (other.append(dropped(studio, video)), ends.set()), daemon=True).start()
    beats = studio.job(job)["beats"]
    while not ends.is_set():
        for method, path, values in (
            ("GET", "/api/state", None), ("GET", f"/api/jobs/{job}", None),
            ("PUT", f"/api/jobs/{job}/beats", {"beats": beats["beats"], "downbeats": beats["downbeats"]}),
        ):  # fmt: skip
            begun = time.perf_counter()
            studio.ask(method, path, values)
            taken.append(1000 * (time.perf_counter() - begun))
        time.sleep(0.1)
    return {
        "requests": len(taken),
        "median": round(statistics.median(taken), 1),
        "p99": round(float(np.quantile(taken, 0.99)), 1),
        "most": round(max(taken), 1),
    }


def drift(studio: Studio, job: str) -> dict[str, dict[str, float]] | None:
    """Picture minus audio in ms in a browser, for each frame: in the half second after the audio of a jump begins, later while it plays,
    and in the half second after a loop's end; also the ms from a jump to its audio, and without a new frame at a loop's end. None
    without a browser."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        page = found.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{studio.address}#{job}")
        page.locator('[data-take="1"][data-state="done"]').wait_for()
        time.sleep(1)
        page.evaluate(RECORD)
        page.locator('[data-take="1"] button', has_text="Play").click()
        time.sleep(1)
        playing, jumps, waits = [], [], []
        for k, place in enumerate([0.0, *np.random.default_rng(0).uniform(0.5, 7, JUMPS)]):
            page.evaluate(f"window.jump({place:.3f})")
            time.sleep(1 if k else 7)
            seen = page.evaluate("[window.apart, window.soundAfter]")
            apart = [(at - seen[1], abs(1000 * drift)) for at, drift in seen[0]]
            jumps += [ms for at, ms in apart if at < AFTER]
            playing += [ms for at, ms in apart if at > AFTER]
            waits.append(1000 * seen[1])
        page.locator("#loop").evaluate("box => box.click()")
        for field, value in zip(("from", "to"), LOOP, strict=True):
            page.locator(f"#region-{field}").fill(str(value))
            page.locator(f"#region-{field}").press("Tab")
        page.evaluate(LOOPED)
        time.sleep((LOOP_ENDS + 1) * (LOOP[1] - LOOP[0]))
        ends, still = at_loop_ends(page.evaluate("window.seenFrames"))
        found.close()
    return {
        "playing": spread(playing), "after_a_jump": spread(jumps), "sound_waits": spread(waits),
        "after_a_loop_end": spread(ends), "no_frame_at_a_loop_end": spread(still),
    }  # fmt: skip


def at_loop_ends(seen: list[list[float]]) -> tuple[list[float], list[float]]:
    """Of frames seen ([when, time or None, place heard], seconds): (|picture minus audio| in ms of each frame in the half second after
    a loop's end; the longest ms from one frame to the next around each end). A frame from beyond the loop is as far off as it is late."""
    length, frames, longest = LOOP[1] - LOOP[0], [], []
    ends = [k for k in range(1, len(seen)) if seen[k][2] < seen[k - 1][2] - length / 2][:LOOP_ENDS]
    for k in ends:
        end = seen[k][0] - (seen[k][2] - LOOP[0])
        after = [frame for frame in seen[k:] if frame[0] < end + AFTER]
        for at, shown, place in after:
            if shown is not None:
                apart = at - end if shown > LOOP[1] + 0.001 else (shown - place + length / 2) % length - length / 2
                frames.append(1000 * abs(apart))
        times = [at for at, _, _ in [*seen[max(0, k - 2) : k], *after]]
        longest.append(1000 * max(np.diff(times)))
    return frames, longest


def spread(values: list[float]) -> dict[str, float]:
    """Median, 90th percentile and largest of some values."""
    return {
        "median": round(statistics.median(values), 1),
        "p90": round(float(np.quantile(values, 0.9)), 1),
        "most": round(max(values), 1),
    }


def looped(video: Path, out: Path, times: int) -> None:
    """Write a video `times` times after itself, its packets copied."""
    with av.open(str(out), "w") as target:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(video)) as source:
                shown = source.streams.video[0]
                stream = stream or target.add_stream_from_template(shown)
                for packet in source.demux(shown):
                    if packet.size:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        target.mux(packet)
                shift += shown.duration


def memory_of(studio: Studio, video: Path) -> dict[str, float]:
    """Highest memory in MB of the server and its worker for a video, and the seconds to its first music."""
    most, ends = [0.0], threading.Event()

    def watch() -> None:
        server = psutil.Process(studio.process.pid)
        while not ends.is_set():
            try:
                most[0] = max(most[0], sum(p.memory_info().rss for p in (server, *server.children(recursive=True))))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.1)

    threading.Thread(target=watch, daemon=True).start()
    _, steps = dropped(studio, video)
    ends.set()
    return {"MB": round(most[0] / 1e6), **steps}


def main() -> None:
    parser = command_parser("benchmarks.studio_times", __doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--long", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch, video = scratch_root(args.root, args.corpus, Path(folder)), Path(folder) / "dance.mp4"
        render(video, 720, 10.0)
        studio = Studio(scratch, "--corpus", args.corpus)
        try:
            while not studio.ask("GET", "/api/state")["styles"]:  # the worker has loaded the models
                time.sleep(0.2)
            runs = [dropped(studio, video) for _ in range(TIMES)]
            job = runs[0][0]
            result = {
                "first_sound_s": [steps["music"] for _, steps in runs], "steps_s": [steps for _, steps in runs],
                "redo_2_s": [remade(studio, job, seed) for seed in range(TIMES)], "answers_ms": answers(studio, job, video),
                "picture_minus_sound_ms": drift(studio, job),
            }  # fmt: skip
            if args.long:
                long = Path(folder) / "long.mp4"
                render(video, 1080, 10.0)
                looped(video, long, 60)
                result["ten_minutes_1080p"] = memory_of(studio, long)
        finally:
            studio.stop()
    result |= {"cores": os.cpu_count(), "device": platform.machine(), "load_average": round(os.getloadavg()[0], 1)}
    write_text(RESULT, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
