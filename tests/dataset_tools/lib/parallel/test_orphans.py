"""After SIGKILL of a stage, in its first milliseconds too, none of its processes lives on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch

from dataset_tools.lib.parallel.orphans import end_loader_worker_with_parent
from tests.helpers.kill_early import living
from tests.helpers.within import run_within, until

TESTS = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}


def test_no_process_lives_two_seconds_after_its_stage_was_killed():
    done = run_within(300, [sys.executable, TESTS / "helpers" / "kill_early.py", "200", "1", "2"], env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert len(found["killed"]) == 4 and sum(found["killed"].values()) == 200
    assert found["survivors"] == []


FROM_MAIN = """
import sys
from dataset_tools.lib.parallel.workers import run_all

class Item:
    def __init__(self, value):
        self.value = value

def twice(item):
    return Item(2 * item.value)

def main():
    found = run_all(twice, [Item(1), Item(2)], 2, "twice")
    print([(item.value, isinstance(item, Item)) for item in found], vars(sys.modules["__main__"])["__file__"] == __file__)

if __name__ == "__main__" or "unguarded" in sys.argv:
    main()
"""


@pytest.mark.parametrize("how", ["file", "module"])
def test_functions_and_classes_of_the_main_module_reach_the_workers(tmp_path, how):
    (tmp_path / "twice.py").write_text(FROM_MAIN)
    paths = os.pathsep.join([ENVIRONMENT["PYTHONPATH"], str(tmp_path)])
    command = {"file": [tmp_path / "twice.py"], "module": ["-m", "twice"]}[how]
    done = run_within(300, [sys.executable, *command], env=ENVIRONMENT | {"PYTHONPATH": paths})
    assert (done.stdout, done.returncode) == ("[(2, True), (4, True)] True\n", 0), done.stderr


def test_a_main_module_that_starts_processes_when_it_is_imported_is_refused(tmp_path):
    (tmp_path / "twice.py").write_text(FROM_MAIN)
    done = run_within(300, [sys.executable, tmp_path / "twice.py", "unguarded"], env=ENVIRONMENT)
    assert done.returncode and 'put that under `if __name__ == "__main__":`' in done.stderr


FFMPEG = """
import subprocess, sys
from pathlib import Path
from dataset_tools.lib.parallel.orphans import write_guarded_program
import imageio_ffmpeg
program = write_guarded_program(imageio_ffmpeg.get_ffmpeg_exe(), Path(sys.argv[1]))
assert subprocess.run([program, "-hide_banner", "-i", "no such file"], capture_output=True).returncode == FAILS
subprocess.run([program, "-v", "error", *"-re -f lavfi -i sine -t 60 -f null -".split()])
"""


def test_ffmpeg_ends_with_the_stage_that_started_it(tmp_path):
    """A minute of audio, as slowly as it is heard."""
    fails = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-i", "no such file"], capture_output=True, check=False
    ).returncode
    command = [sys.executable, "-c", FFMPEG.replace("FAILS", str(fails)), tmp_path]
    stage = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True)
    until(60, lambda: any("ffmpeg" in process.name() and "lavfi" in process.cmdline() for process in living(stage.pid)))
    stage.kill()
    stage.wait()
    until(2, lambda: not living(stage.pid))


class Slow(torch.utils.data.Dataset):
    """An item that a worker loads for half a minute, once it has said so by a file."""

    def __init__(self, file: Path):
        self.file = file

    def __len__(self):
        return 1

    def __getitem__(self, _):
        self.file.touch()
        time.sleep(30)


def test_a_loader_worker_ends_with_its_parent(tmp_path):
    loader = torch.utils.data.DataLoader(
        Slow(tmp_path / "begun"), num_workers=1, worker_init_fn=end_loader_worker_with_parent
    )
    stage = os.fork()
    if stage == 0:
        os.setsid()
        next(iter(loader))
        os._exit(0)
    until(60, (tmp_path / "begun").exists)
    os.kill(stage, signal.SIGKILL)
    os.waitpid(stage, 0)
    until(2, lambda: not living(stage))


def test_a_time_limit_holds_where_a_process_is_left_over(tmp_path):
    left = subprocess.list2cmdline([sys.executable, "-c", "import time; time.sleep(60)"])
    begun = time.monotonic()
    with pytest.raises(AssertionError, match="took more than 1 s"):
        run_within(1, ["sh", "-c", f"{left} & exit 0"])
    assert time.monotonic() < begun + 30
