"""What Excel shows of a number of days under a format is what is read; what the format hides makes it no time."""

import pytest
from openpyxl.styles.numbers import is_date_format, is_timedelta_format
from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel

from dataset_tools.sources.annotation_values import mark_day_fractions, parse_seconds
from dataset_tools.sources.excel_times import format_number, format_time


def days(hours, minutes, seconds=0):
    return (3600 * hours + 60 * minutes + seconds) / 86400


@pytest.mark.parametrize("epoch", [WINDOWS_EPOCH, MAC_EPOCH])
@pytest.mark.parametrize(
    ("value", "number_format", "text", "seconds"),
    [
        (days(1, 15), "h:mm", "1:15", 75),
        (days(1, 15), "[$-en-US]h:mm;@", "1:15", 75),
        (days(1, 15), "[$-409]hh:mm", "01:15", 75),
        (days(1, 15), "[Red]h:mm;[h]:mm:ss", "1:15", 75),
        (days(1, 15), "[$-en-US]h:mm AM/PM;@", "1:15", 75),
        (days(1, 15), 'h"min" mm"sec"', "1min 15sec", 75),
        (days(1, 15), 'h" s "mm', "1 s 15", None),
        (days(1, 15), "h.mm", "1:15", 75),
        (days(1, 15), "hh\\-mm", "01:15", 75),
        (days(1, 2, 5), "h:mm:ss", "1:02:05", 3725),
        (days(1, 2, 5), "[mm]:ss", "62:05", 3725),
        (days(0, 2, 5.5), "mm:ss.0", "02:05.500", 125.5),
        (days(0, 1, 15), "mmss.0", "01:15", 75),
        (days(1, 15), "HHMM", "01:15", 75),
        (days(24, 30), "[HH]:MM:SS.00", "24:30:00", None),
        (days(0, 1, 15), "[s]", "75", 75),
        (days(24, 30), "[h]:mm", "24:30", 1470),
        (days(0, 0), "h:mm", "0:00", 0),
        # what is hidden is said
        (days(24, 30), "h:mm", "0:30 (24:30:00 in the cell)", None),
        (days(24, 0, 30), "h:mm:ss", "0:00:30 (24:00:30 in the cell)", None),
        (days(24, 30), "[$-en-US]hh:mm;@", "00:30 (24:30:00 in the cell)", None),
        (days(1, 2, 5), "mm:ss", "02:05 (1:02:05 in the cell)", None),
        (days(0, 1, 15), "h:mm", "0:01 (0:01:15 in the cell)", None),
        (days(13, 15), "h:mm AM/PM", "1:15 PM (13:15:00 in the cell)", None),
        (days(0, 15), "h:mm AM/PM", "12:15 AM (0:15:00 in the cell)", None),
        (days(1, 15), "m/d/yyyy h:mm", "a date (1:15:00 in the cell)", None),
        (days(1, 15), "mm", "a date (1:15:00 in the cell)", None),
    ],
)
def test_a_time_is_what_its_reader_sees(epoch, value, number_format, text, seconds):
    assert is_date_format(number_format)
    found = format_time(from_excel(value, epoch, is_timedelta_format(number_format)), number_format, epoch)
    assert found == text
    if seconds is None:
        with pytest.raises(ValueError, match="is not a time"):
            parse_seconds(found)
    else:
        assert parse_seconds(found) == seconds


def test_numbers_whose_format_puts_a_colon_in():
    for number, number_format, text in (
        (115, "0:00", "1:15"), (115, '00":"00', "01:15"), (5, "0\\:00", "0:05"), (10205, "0:00:00", "1:02:05"), (115, "#:##", "1:15"),
        (115, "General", "115"), (115, "0", "115"), (-5, "0:00", "-5"), (115, '0" s:"', "115"),
    ):  # fmt: skip
        assert format_number(number, number_format) == text, number_format


def test_fractions_of_a_day_are_not_taken_for_seconds():
    def kept(**columns):
        return [cell for cells in mark_day_fractions(columns).values() for cell in cells if "fraction" not in cell]

    assert kept(start=["0.000868055555555556", "0"], end=["0.00104166666666667", "0.5"]) == ["0"]
    assert kept(start=["1,0208333333", "0,5"], end=["25:10", "1:00"]) == ["25:10", "1:00"]
    assert kept(start=["0.0520833333"], duration=["15"]) == ["15"], "a column by itself"
    seconds = {"start": ["0.5", "3.3366700", "1.25"], "end": ["8", "12.0333333333", "99.5"]}
    assert mark_day_fractions(seconds) == seconds, "seconds of a frame rate"
