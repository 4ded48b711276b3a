"""Spans of time as typed, e.g. 30s, 10m, 8h or 90d."""

from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_span(text: str) -> timedelta | None:
    """Parse a number, perhaps with decimals, and a unit; None if it is no such span."""
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if unit is None or not number.replace(".", "", 1).isdecimal():
        return None
    try:
        return timedelta(**{unit: float(number)})
    except (ValueError, OverflowError):
        return None
