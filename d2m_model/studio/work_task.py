"""A task as the worker's functions get it."""

from typing import Any, NamedTuple

from d2m_model.studio.job import Job, Task
from d2m_model.studio.params import Params
from dataset_tools.lib.core.layout import Layout


class Work(NamedTuple):
    """A task with everything that its function needs."""

    job: Job
    task: Task
    layout: Layout
    params: Params

    @property
    def arguments(self) -> dict[str, Any]:
        """What was asked for."""
        return self.task.arguments

    @property
    def frames(self) -> int:
        """Number of the video's frames at 30 fps."""
        return self.job.tasks["read"].result["frames"]

    @property
    def begin(self) -> float:
        """Time of frame 0 in seconds of the video's clock."""
        return self.job.tasks["read"].result["begin"]
