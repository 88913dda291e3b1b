"""The worker's functions by name: the server hands these to its worker without importing torch itself."""

from pathlib import Path
from typing import Any

from d2m_model.studio.params import Params
from dataset_tools.lib.core.layout import Layout


def perform(folder: Path, key: str, layout: Layout, params: Params) -> dict[str, Any]:
    """`work.perform`."""
    from d2m_model.studio import work

    return work.perform(folder, key, layout, params)


def warm_up(layout: Layout) -> dict[str, Any]:
    """`work.warm_up`."""
    from d2m_model.studio import work

    return work.warm_up(layout)
