"""Cells of a spreadsheet as text: times as they were typed, and no time where a format hides a part of it."""

import pytest
from openpyxl.styles.numbers import is_date_format, is_timedelta_format
from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel

from dataset_tools.sources.annotation_values import mark_day_fractions, parse_seconds
from dataset_tools.sources.spreadsheet import _cell_text, format_time


def days(hours, minutes, seconds=0):
    return (3600 * hours + 60 * minutes + seconds) / 86400


@pytest.mark.parametrize("epoch", [WINDOWS_EPOCH, MAC_EPOCH])
@pytest.mark.parametrize(
    ("value", "number_format", "text", "seconds"),
    [
        (days(1, 15), "h:mm", "1:15", 75),
        (days(1, 15), "[$-en-US]h:mm;@", "1:15", 75),
        (days(1, 15), "[Red]h:mm;[h]:mm:ss", "1:15", 75),
        (days(1, 15), "[$-en-US]h:mm AM/PM;@", "1:15", 75),
        (days(13, 15), "h:mm AM/PM", "13:15", 795),
        (days(1, 15), 'h"min" mm"sec"', "1:15", 75),
        (days(1, 15), "h.mm", "1:15", 75),
        (days(1, 15), "HHMM", "1:15", 75),
        (days(24, 30), "[h]:mm", "24:30", 1470),
        (days(0, 0), "h:mm", "0:00", 0),
        (days(1, 2, 5), "h:mm:ss", "1:02:05", 3725),
        (days(1, 2, 5), "[mm]:ss", "1:02:05", 3725),
        (days(0, 2, 5.5), "mm:ss.0", "0:02:05.500", 125.5),
        (days(0, 1, 15), "[s]", "0:01:15", 75),
        # what is hidden is said
        (days(1, 2, 5), "mm:ss", "a time shown in part (1:02:05 in the cell)", None),
        (days(24, 30), "h:mm", "a time shown in part (24:30:00 in the cell)", None),
        (days(24, 0, 30), "h:mm:ss", "a time shown in part (24:00:30 in the cell)", None),
        (days(0, 1, 15), "h:mm", "a time shown in part (0:01:15 in the cell)", None),
        (days(0, 1, 15), "ss", "a time shown in part (0:01:15 in the cell)", None),
        (days(1, 15, 30), "h:ss", "a time shown in part (1:15:30 in the cell)", None),
        (days(1, 15), "h", "a time shown in part (1:15:00 in the cell)", None),
        (days(1, 15), "h AM/PM", "a time shown in part (1:15:00 in the cell)", None),
        (days(1, 15), 'h"h" mm"m"', "a time shown in part (1:15:00 in the cell)", None),
        (days(1, 15), "m/d/yyyy h:mm", "a date (1:15:00 in the cell)", None),
        (days(1, 15), "mm", "a date (1:15:00 in the cell)", None),
    ],
)
def test_a_time_is_what_was_typed(epoch, value, number_format, text, seconds):
    assert is_date_format(number_format)
    found = format_time(from_excel(value, epoch, is_timedelta_format(number_format)), number_format, epoch)
    assert found == text
    if seconds is None:
        with pytest.raises(ValueError, match="is not a time"):
            parse_seconds(found)
    else:
        assert parse_seconds(found) == seconds


def test_a_number_whose_format_puts_a_colon_in_is_not_read_as_seconds():
    for number, number_format, text in (
        (115, "0:00", "115 (shown as 0:00)"), (115, "0\\:00", "115 (shown as 0\\:00)"), (115, '00":"00', '115 (shown as 00":"00)'),
        (115, "[>=100]0\\:00;0", "115 (shown as [>=100]0\\:00;0)"), (115.5, "0:00.0", "115.5 (shown as 0:00.0)"), (115, "General", "115"), (115.0, "0", "115"), (115, '0" s:"', "115"),
        (1.25, "0.00", "1.25"),
    ):  # fmt: skip
        assert _cell_text(number, number_format, WINDOWS_EPOCH) == text, number_format
    with pytest.raises(ValueError, match="is not a time"):
        parse_seconds("115 (shown as 0:00)")


def test_fractions_of_a_day_are_not_taken_for_seconds():
    def kept(**columns):
        return [cell for cells in mark_day_fractions(columns).values() for cell in cells if "fraction" not in cell]

    assert kept(start=["0.000868055555555556", "0"], end=["0.00104166666666667", "0.5"]) == ["0"]
    assert kept(start=["1,0208333333", "0,5"], end=["25:10", "1:00"]) == ["25:10", "1:00"]
    assert kept(start=["0.0520833333"], duration=["15"]) == ["15"], "a column by itself"
    seconds = {"start": ["0.5", "3.3366700", "1.25"], "end": ["8", "12.0333333333", "99.5"]}
    assert mark_day_fractions(seconds) == seconds, "seconds of a frame rate"
