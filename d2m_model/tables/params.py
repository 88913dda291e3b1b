"""Section `tables` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require

FORMS = ("md", "csv", "tex")
"""Suffixes of the files that each table is written to."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `tables` of params.yaml."""

    digits: int = 1
    """Decimals of percentages."""

    def __post_init__(self):
        require(0 <= self.digits <= 6, f"digits must be 0 to 6, found {self.digits}")
