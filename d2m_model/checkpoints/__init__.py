"""Loaders of other people's checkpoints, one file per format; none runs code from a checkpoint.

Importing this package is cheap: a loader's module, and torch with it, is imported when the loader is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d2m_model.checkpoints.jukebox import load_jukebox as load_jukebox
    from d2m_model.checkpoints.released import load_released as load_released
    from d2m_model.checkpoints.vggish import load_vggish as load_vggish

_FILES = {"load_jukebox": "jukebox", "load_released": "released", "load_vggish": "vggish"}
__all__ = list(_FILES)


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
