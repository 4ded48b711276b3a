"""Clients of the compactface services."""

from compactface.client.channel import Tls
from compactface.client.errors import FieldViolation, RequestFailed

__all__ = ["FieldViolation", "RequestFailed", "Tls"]
