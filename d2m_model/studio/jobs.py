"""All jobs of a studio, and the queue in which their tasks are done one at a time, in a process that may die."""

import shutil
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2m_model.studio.job import (
    JOB_ID,
    MOST_NOTES,
    MUSIC,
    STEPS,
    Job,
    Task,
    load_job,
    name_beside,
    new_job,
    remove_strays,
    tidy,
    tidy_job,
)
from d2m_model.studio.params import Params
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError, describe_disk_error, describe_missing_package, one_line
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.parallel.worker_process import ProcessLost
from dataset_tools.lib.parallel.workers import CallProcess

TASK_SECONDS = 6 * 3600.0
"""Time limit of a task."""
MEMORY = 48 << 30
"""Address space of the worker in bytes; what torch maps is far more than what it uses."""


class Unknown(LookupError):
    """No such job or task."""


@dataclass(eq=False)
class Running:
    """The task that the worker does."""

    job: Job
    task: Task
    progress: dict[str, Any] | None = None
    """{label, done, total, unit} of its last bar."""
    cancelled: bool = False


class Jobs:
    """The jobs in a folder. All methods may be called from any thread."""

    def __init__(self, layout: Layout, params: Params):
        self.layout, self.params = layout, params
        self.folder = layout.stage("studio")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.styles: list[str] = []
        """Genres that the prior knows; empty until the worker has loaded it."""
        self.running: Running | None = None
        self._changed = threading.Condition(threading.RLock())
        self._process = CallProcess()
        self._last = 0
        self._stopped = False
        self._jobs: dict[str, Job] = {}

    def load(self) -> None:
        """Read the jobs of earlier servers. Call it once, before `start`, and only where no other server has them open."""
        tidy(self.folder)
        for path in sorted(self.folder.iterdir()):
            if JOB_ID.fullmatch(path.name):
                try:
                    job = self._jobs[path.name] = load_job(path)
                    remove_strays(job)
                except UserError as err:
                    say("studio", f"warning: {err}; its folder is left as it is")

    def start(self) -> None:
        """Work on the queue, in a thread, as long as this process lives."""
        threading.Thread(target=self._work, daemon=True).start()

    def stop(self) -> None:
        """Begin no further task, and leave the one that runs to the next server. Call it before this process ends."""
        with self._changed:
            self._stopped = True

    @property
    def lock(self) -> threading.Condition:
        """Hold it to change jobs and tasks."""
        return self._changed

    def all(self) -> list[Job]:
        """Newest first."""
        with self._changed:
            return sorted(self._jobs.values(), key=lambda j: j.last_asked, reverse=True)

    def get(self, job_id: str) -> Job:
        """Raises Unknown."""
        with self._changed:
            if job_id not in self._jobs:
                raise Unknown(job_id)
            return self._jobs[job_id]

    def new(self, name: str, suffix: str) -> Job:
        """A folder for a job whose video is still to be written; `add` makes it a job."""
        return new_job(self.folder, name, suffix)

    def add(self, job: Job, first_take: dict[str, Any] | None = None) -> None:
        """Make a folder that has its video, or an unpacked project, a job. first_take: arguments of the take that follows at once."""
        with self._changed:
            for step in STEPS:
                if step not in job.tasks:
                    self._queue(job, step, step, {})
            if first_take is not None and not any(t.key.startswith("take-") for t in job.tasks.values()):
                self._queue(job, "take-1", "take", first_take)
            job.name = name_beside(job.name, {other.name for other in self._jobs.values()})
            job.save()
            self._jobs[job.id] = job
            self._changed.notify_all()

    def ask(self, job: Job, key: str, kind: str, arguments: dict[str, Any]) -> Task:
        """Put a task into the queue, in place of an earlier one with this key. Raises Unknown for a job that was removed."""
        with self._changed:
            if self.get(job.id) is not job:
                raise Unknown(job.id)
            return self._queue(job, key, kind, arguments)

    def _queue(self, job: Job, key: str, kind: str, arguments: dict[str, Any]) -> Task:
        self.cancel(job, {key})
        task = Task(key=key, kind=kind, asked=self._number(), arguments=arguments)
        job.put(task)
        self._changed.notify_all()
        return task

    def again(self, job: Job, number: int | None = None) -> bool:
        """Do the steps and takes that failed or were cancelled once more; of the takes only one, unless `number` is None. Returns whether
        there was one. Raises UserError where all of them need a take that was deleted."""
        with self._changed:
            order = sorted(job.tasks.values(), key=lambda t: (t.kind not in STEPS, t.asked))
            asked = [t for t in order if t.kind in STEPS or (t.kind in MUSIC and number in (None, t.number))]
            lost = [t for t in asked if t.state in ("failed", "cancelled")]
            if not lost:
                return False
            possible = [t for t in lost if not (source := t.arguments.get("from")) or f"take-{source}" in job.tasks]
            if not possible:
                raise UserError("the take of which a part was to be made anew was deleted")
            for task in possible:
                job.put(Task(key=task.key, kind=task.kind, asked=self._number(), arguments=task.arguments))
            self._changed.notify_all()
            return True

    def cancel(self, job: Job, keys: set[str] | None = None) -> None:
        """Stop the running task of a job and drop its waiting ones; only `keys`, unless None."""
        with self._changed:
            for task in job.tasks.values():
                if task.state == "waiting" and (keys is None or task.key in keys):
                    self._end(job, task, "cancelled")
            now = self.running
            if now and now.job is job and (keys is None or now.task.key in keys) and not now.cancelled:
                now.cancelled = True
                self._process.stop()

    def remove(self, job: Job) -> None:
        """Delete a job with all its files."""
        with self._changed:
            self.cancel(job)
            self._jobs.pop(job.id, None)
        (job.folder / "job.json").unlink(missing_ok=True)  # what is left after a crash is removed by `tidy`
        shutil.rmtree(job.folder, ignore_errors=True)

    def queue(self) -> list[tuple[Job, Task]]:
        """The running task, then the waiting ones in the order in which they will be done."""
        with self._changed:
            waiting = [(j, t) for j in self._jobs.values() for t in j.tasks.values() if t.state == "waiting"]
            waiting.sort(key=lambda pair: (not self.is_running(pair[1]), *_turn(*pair)))
            return waiting

    def is_running(self, task: Task) -> bool:
        """Whether the worker does this task now."""
        return self.running is not None and self.running.task is task

    def _number(self) -> int:
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    def _work(self) -> None:
        self._warm_up()
        while not self._stopped:
            with self._changed:
                while not (queue := self.queue()):
                    self._changed.wait()
                job, task = queue[0]
                if _lacking(job, task):
                    self._end(job, task, "cancelled")
                    continue
                self.running = now = Running(job, task)
            state, error, result = "done", None, {}
            try:
                result = self._call(now)
            except Exception as err:  # noqa: BLE001 - one task must not end the studio
                state, error = "failed", self._described(err, job)
                if task.kind == "read" and isinstance(err, UserError):
                    result = {"final": True}  # it is the file's fault
                if not now.cancelled and not self._stopped:
                    _tell(f"{job.name}: {task.key} failed: {error}")
            with self._changed:
                if self._stopped:
                    return  # the task waits for the next server
                if now.cancelled:
                    state, error, result = "cancelled", None, {}
                task.result = result
                self.running = None
                if job.id in self._jobs and job.tasks.get(task.key) is task:
                    self._end(job, task, state, error)
                removed = job.id not in self._jobs
            if removed:  # the worker may have written after `remove`
                shutil.rmtree(job.folder, ignore_errors=True)
            elif state != "done":
                tidy_job(job.folder)

    def _call(self, now: Running) -> dict[str, Any]:
        from d2m_model.studio import work_entry

        def on_message(what: tuple) -> None:
            if what[0] == "note":
                if len(now.task.notes) < MOST_NOTES:
                    now.task.notes.append(self.without_paths(what[1], now.job))
            else:
                now.progress = dict(zip(("label", "done", "total", "unit"), what[1:], strict=True))

        now.task.notes.clear()
        arguments = now.job.folder, now.task.key, self.layout, self.params
        return self._process.call(
            work_entry.perform, *arguments, timeout=TASK_SECONDS, memory=MEMORY, on_message=on_message,
            wanted=lambda: not now.cancelled,
        )  # fmt: skip

    def _warm_up(self) -> None:
        from d2m_model.studio import work_entry

        try:
            found = self._process.call(work_entry.warm_up, self.layout, timeout=TASK_SECONDS, memory=MEMORY)
            self.styles = found["styles"]
        except Exception as err:  # noqa: BLE001 - the tasks will say it again, to the page
            _tell(f"warning: the models can't be loaded: {one_line(str(err))}")

    def _end(self, job: Job, task: Task, state: str, error: str | None = None) -> None:
        """Record how a task ended. If that can't be written, only this server knows it, and the next server does the task again."""
        task.state, task.error = state, error
        try:
            job.put(task)
        except OSError as err:
            job.changed()
            line = describe_disk_error(err, full_path=False) or f"its record can't be written: {err.strerror}"
            task.error = self.without_paths(line, job)

    def _described(self, err: Exception, job: Job) -> str:
        """A line for the person; the terminal gets the traceback of what may be a bug of ours."""
        line = describe_disk_error(err, full_path=False) or describe_missing_package(err)
        if line is None and not isinstance(err, (UserError, ProcessLost)):
            with suppress(OSError, ValueError):  # the terminal is closed
                traceback.print_exception(err)
            line = f"an error of the studio ({type(err).__name__}); the terminal shows it"
        return self.without_paths(line or str(err), job)

    def without_paths(self, text: str, job: Job | None = None) -> str:
        """A message without the paths of this machine."""
        for path in (job.folder if job else self.folder, self.layout.root):
            for form in (path, path.resolve()):
                if str(form) != ".":
                    text = text.replace(f"{form}/", "")
        with self._changed:
            asked = [t.arguments.get(name) for t in job.tasks.values() for name in ("folder", "style")] if job else []
        for given in asked:  # their names may have spaces
            if isinstance(given, str) and Path(given).is_absolute():
                text = text.replace(f"{given}/", "").replace(given, Path(given).name)
        if job:
            text = text.replace(job.video, job.name)
        return one_line(_without_folders(text))


def _tell(text: str) -> None:
    """A line in the terminal, if it is still open."""
    with suppress(OSError, ValueError):
        say("studio", text)


def needed(job: Job, task: Task) -> list[Task]:
    """The steps whose results a task reads."""
    before = {"pose": ("read",), "rhythm": ("read", "pose"), "take": STEPS, "own_music": STEPS, "sound": ()}
    steps = ("read",) if task.arguments.get("take") else STEPS  # of an export
    return [job.tasks[step] for step in before.get(task.kind, steps if task.kind == "export" else ())]


def _turn(job: Job, task: Task) -> tuple[int, int, int]:
    """What the queue is sorted by: a task's turn comes when it was asked for, but after the waiting steps that it needs."""
    waiting = [step.asked for step in needed(job, task) if step.state == "waiting"]
    place = STEPS.index(task.kind) if task.kind in STEPS else len(STEPS)
    return max(task.asked, *waiting, 0), place, task.asked


def _lacking(job: Job, task: Task) -> Task | None:
    """An earlier step that a task needs and that failed or was cancelled."""
    return next((step for step in needed(job, task) if step.state in ("failed", "cancelled")), None)


def _without_folders(text: str) -> str:
    """Absolute paths reduced to their last part."""
    words = text.split(" ")
    return " ".join(_last_part(word) for word in words)


def _last_part(word: str) -> str:
    start = word.find("/")
    if start < 0 or (start > 0 and word[start - 1] not in "'\"(`=") or "//" in word or word == "/":
        return word
    return word[:start] + word.rstrip("/").rpartition("/")[2]
