"""Read request bodies up to a size limit, in memory only."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from web_gateway.problems import Problem

MAX_JSON_BYTES = 1 << 20
"""Fits 64 maps of 4096 bytes each in base64, and the other fields."""

_MAX_FIELD_BYTES = 1 << 16
_MAX_PARTS = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a request body.

    Attributes:
        max_bytes: maximum size of a body with photographs.
        seconds: maximum time for the body to arrive.
    """

    max_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form.

    Attributes:
        fields: text fields; the last of those with the same name.
        repeated: all texts by name, in order.
        files: contents of files by field name.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    repeated: dict[str, list[str]] = field(default_factory=dict)


async def read_photographs(request: Request, limits: Limits) -> dict[str, bytes]:
    """Read the photographs of a request: files of a form, or the body itself as "image"."""
    if _media_type(request).startswith("multipart/"):
        files = (await read_form(request, limits)).files
    else:
        files = {"image": await _read(request, limits.max_bytes, limits.seconds)}
    if not files.get("image"):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "IMAGE_MISSING",
            'no photograph: send it as the body, or as the file "image" of a multipart form',
            field="image",
        )
    return files


async def read_form(request: Request, limits: Limits) -> Form:
    """Read a multipart or urlencoded form.

    Raises:
        Problem: the form is invalid, too large or too slow.
    """
    body = await _read(request, limits.max_bytes, limits.seconds)
    parser: MultiPartParser | FormParser
    if _media_type(request).startswith("multipart/"):
        parser = _InMemory(
            request.headers,
            _chunks(body),
            max_files=_MAX_PARTS,
            max_fields=_MAX_PARTS,
            max_part_size=_MAX_FIELD_BYTES,
        )
    else:
        parser = FormParser(
            request.headers,
            _chunks(body),
            max_fields=_MAX_PARTS,
            max_part_size=_MAX_FIELD_BYTES,
        )
    form = Form()
    try:
        for name, value in (await parser.parse()).multi_items():
            if isinstance(value, UploadFile):
                form.files[name] = await value.read()
                await value.close()
            else:
                form.fields[name] = value
                form.repeated.setdefault(name, []).append(value)
    except (MultiPartException, FormParserError, ValueError) as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", f"the form cannot be read: {error}"
        ) from None
    return form


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """Read a JSON object."""
    if _media_type(request) != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "MEDIA_TYPE_UNSUPPORTED",
            f"content-type is {_media_type(request)!r:.80}; send application/json",
        )
    body = await _read(request, MAX_JSON_BYTES, limits.seconds)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", "the body is not JSON") from None
    if not isinstance(document, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", "the body must be a JSON object")
    return document


class _InMemory(MultiPartParser):
    """Keeps files in memory; the base class writes large ones to disk."""

    spool_max_size = 0  # 0 disables SpooledTemporaryFile's rollover


async def _read(request: Request, limit: int, seconds: float) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(int(declared), limit)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(len(body), limit)
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            "UPLOAD_TIMEOUT",
            f"the body did not arrive within {seconds:g} s",
        ) from None
    except ClientDisconnect:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "UPLOAD_BROKEN_OFF", "the body was broken off"
        ) from None
    return bytes(body)


def _too_large(size: int, limit: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "BODY_TOO_LARGE",
        f"the body is {size} bytes or more; at most {limit} are accepted",
        metadata={"max_bytes": str(limit)},
    )


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def _chunks(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
