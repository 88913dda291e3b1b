"""Cells of a spreadsheet as text: times as they were typed, and no time where a format hides a part of it."""

from datetime import timedelta
from typing import NamedTuple

import pytest
from openpyxl.styles.numbers import is_date_format, is_timedelta_format
from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel

from dataset_tools.sources.annotation_values import find_doubtful_time, parse_seconds
from dataset_tools.sources.spreadsheet import _cell_text, format_time


class Cell(NamedTuple):
    """What is read of openpyxl's cells."""

    value: object
    number_format: str


def days(hours, minutes, seconds=0):
    return (3600 * hours + 60 * minutes + seconds) / 86400


@pytest.mark.parametrize("epoch", [WINDOWS_EPOCH, MAC_EPOCH])
@pytest.mark.parametrize(
    ("value", "number_format", "text", "seconds"),
    [
        (days(1, 15), "h:mm", "1:15", 75),
        (days(1, 15), "[$-en-US]h:mm;@", "1:15", 75),
        (days(1, 15), "HH:MM", "1:15", 75),
        (days(24, 30), "[h]:mm", "24:30", 1470),
        (days(0, 0), "h:mm", "0:00", 0),
        (days(1, 2, 5), "h:mm:ss", "1:02:05", 3725),
        (days(30, 2, 5), "[hh]:mm:ss", "30:02:05", None),
        (days(1, 2, 5), "[mm]:ss", "1:02:05", 3725),
        (days(0, 2, 5.5), "mm:ss.0", "0:02:05.500", 125.5),
        # what is hidden is said
        (days(1, 2, 5), "mm:ss", "01:02:05 in the format mm:ss", None),
        (days(24, 30), "h:mm", "1900-01-01 00:30:00 in the format h:mm", None),
        (days(24, 0, 30), "h:mm:ss", "1900-01-01 00:00:30 in the format h:mm:ss", None),
        (days(0, 1, 15), "h:mm", "00:01:15 in the format h:mm", None),
        (days(0, 1, 15), "[h]:mm", "0:01:15 in the format [h]:mm", None),
        (days(-1, 0), "[h]:mm", "-1 day, 23:00:00 in the format [h]:mm", None),
        (days(1, 15), "mm", "01:15:00 in the format mm", None),
        # any other format is left to people
        *(
            (days(1, 15), other, f"01:15:00 in the format {other}", None)
            for other in (
                "ss", "h:ss", "h", "h.mm", "HHMM", "h:mm AM/PM", 'h"h" mm"m"', 'h"min" mm"sec"', "m/d/yyyy h:mm", "[Red]h:mm;[h]:mm:ss",
            )
        ),
    ],
)  # fmt: skip
def test_a_time_is_what_was_typed(epoch, value, number_format, text, seconds):
    assert is_date_format(number_format)
    found = format_time(from_excel(value, epoch, is_timedelta_format(number_format)), number_format)
    assert found == text.replace("1900-01-01", f"{(epoch + timedelta(days=2 - (epoch == MAC_EPOCH))):%Y-%m-%d}")
    if seconds is None:
        with pytest.raises(ValueError, match="is not a time"):
            parse_seconds(found)
    else:
        assert parse_seconds(found) == seconds


@pytest.mark.parametrize("number_format", ["General", "0", "0.00", "#,##0", "0.0##", "000", "@"])
def test_a_number_is_read_where_its_format_shows_it(number_format):
    assert _cell_text(Cell(115, number_format)) == "115" and _cell_text(Cell(1.25, number_format)) == "1.25"


@pytest.mark.parametrize(
    "number_format", ["0:00", "0\\:00", '00":"00', "[>=100]0\\:00;0", "0:00.0", '0"m"00"s"', "0%", "#,##0,"]
)
def test_a_number_that_its_format_shows_as_another_is_not_read(number_format):
    found = _cell_text(Cell(115, number_format))
    assert found == f"115 in the format {number_format}"
    with pytest.raises(ValueError, match="is not a time"):
        parse_seconds(found)


def test_fractions_of_a_day_are_not_taken_for_seconds():
    def doubt(**columns):
        return find_doubtful_time(
            [(n, dict(zip(columns, row, strict=True))) for n, row in enumerate(zip(*columns.values(), strict=True), 2)]
        )

    for columns in (
        {"start": ["0", "0.000868055555555556"], "end": ["0.5", "0.00104166666666667"]}, {"start": ["0,5", "1,0208333333"], "end": ["1:00", "25:10"]},
        {"start": ["0.5", "0.0520833333"], "duration": ["15", "15"]}, {"start": ["1", "4.62962962962963e-05"], "end": ["8", "9"]},
    ):  # fmt: skip
        assert doubt(**columns).startswith(
            "row 3: start '"
        ) and "may be a fraction of a day; format it as h:mm:ss" in doubt(**columns)
    assert not doubt(start=["0.5", "3.3366700", "1.25"], end=["8", "12.0333333333", "99.5"]), "seconds of a frame rate"
