"""Conversion between datetime and protobuf timestamps."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from shared.errors import InvalidInput


def moment(message: Timestamp, *, field: str) -> datetime:
    """Convert a message to a UTC datetime, to the microsecond.

    Raises:
        InvalidInput: INVALID_TIME, in `field`; the year is not in 1 to 9999.
    """
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            "INVALID_TIME",
            f"{field} is {message.seconds} s {message.nanos} ns after 1970; "
            "it must lie between the years 1 and 9999",
            field=field,
        ) from None


def timestamp(time: datetime) -> Timestamp:
    """Convert a timezone-aware datetime to a message."""
    message = Timestamp()
    message.FromDatetime(time)
    return message
