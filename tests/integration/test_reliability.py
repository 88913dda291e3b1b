"""docs/reliability.md names tests that exist."""

import re

from tests.conftest import ROOT


def test_every_test_that_the_page_names_exists():
    named = re.findall(
        r"`(test_\w+\.py)(?:::(test_\w+))?`", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    )
    assert len(named) > 30
    for file, test in named:
        found = [*(ROOT / "tests").rglob(file)]
        assert len(found) == 1, file
        assert not test or f"def {test}(" in found[0].read_text(encoding="utf-8"), f"{file}::{test}"
