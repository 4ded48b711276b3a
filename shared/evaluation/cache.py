"""A cache of slow results on disk, keyed by everything they depend on."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of cached arrays, so that an interrupted run can resume.

    Attributes:
        folder: created on first write; None disables caching. It may be deleted at any time.
    """

    folder: Path | None

    def arrays(self, key: Mapping[str, JsonValue], compute: Callable[[], Arrays]) -> Arrays:
        """Return the arrays under `key`, computing them once.

        Args:
            key: everything that the result depends on.
            compute: called if the key is not cached.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{digest(key)}.npz"
        if not path.is_file():
            _write(path, compute())
        with np.load(path) as kept:
            return {name: kept[name] for name in kept.files}


NO_CACHE = Cache(None)


def digest(key: Mapping[str, JsonValue]) -> str:
    """sha256 of a JSON object, independent of key order."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def pixels_digest(pixels: NDArray[np.uint8]) -> str:
    """sha256 of images, including their number and size."""
    content = hashlib.sha256(repr(pixels.shape).encode())
    content.update(np.ascontiguousarray(pixels).data)
    return content.hexdigest()


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    partial.rename(path)
