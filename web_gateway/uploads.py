"""Bodies of requests, read no further than their limit, and never written to disk."""

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
"""Room for 64 maps of 4096 bytes each in base64, and what goes with them."""

_MAX_FIELD_BYTES = 1 << 16
_MAX_PARTS = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What a body may cost.

    Attributes:
        max_bytes: of a body with photographs.
        seconds: for the body to arrive.
    """

    max_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form.

    Attributes:
        fields: its text fields; of several with one name the last.
        files: contents of its files by the name of their field.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


async def read_photographs(request: Request, limits: Limits) -> dict[str, bytes]:
    """The photographs of a request: files of a form, or the body itself as "image"."""
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
    """A form, multipart or urlencoded.

    Raises:
        Problem: it cannot be read, or is too large or too late.
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
    except (MultiPartException, FormParserError, ValueError) as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", f"the form cannot be read: {error}"
        ) from None
    return form


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """The JSON object that a request sends."""
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
    """Keeps files in memory, where the library would write large ones to the disk."""

    spool_max_size = 0  # SpooledTemporaryFile: never


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
