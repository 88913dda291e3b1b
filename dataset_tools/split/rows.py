"""Rows of the table that `split` writes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """One row of split.csv."""

    clip_id: str
    song_id: str
    split: str
    """'train', 'val' or 'test'."""


@dataclass(frozen=True, kw_only=True)
class FoldRow(SplitRow):
    """One row of the split.csv of 'kfold'."""

    fold: int
    """The fold for which the clip is test, 0 to folds - 1; `split` is 'test' for the fold that was asked for."""
