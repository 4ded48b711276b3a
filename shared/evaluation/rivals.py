"""Results of conventional codecs that are kept under version control.

To measure one takes up to hours. What a network sees in its files depends on no model of ours, so
a result holds as long as judge, size, pairs and Pillow, which has the codecs, are the same.
"""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
from pydantic import ValidationError

from shared.errors import InvalidInput
from shared.evaluation.baselines import Baseline
from shared.evaluation.cache import digest
from shared.evaluation.measurements import Measurement
from shared.evaluation.protocol import Pairs
from shared.evaluation.rows import Row
from shared.record import Record


class _Kept(Record):
    """One line of the file.

    Attributes:
        target_bytes: size limit per crop.
        judge: digest of the network that judged.
        pairs: digest of the photographs and of how they are paired.
        pillow: version of Pillow.
        row: the figures, with command and commit.
        right: (P,) whether each pair was classified correctly, as bits, in base64.
    """

    target_bytes: int
    judge: str
    pairs: str
    pillow: str
    row: Row
    right: str


class KeptRivals:
    """The results for some pairs in a file, one line each; new ones are appended."""

    def __init__(self, path: Path, names: Sequence[str], pairs: Pairs) -> None:
        """Read the file, if it is there.

        Args:
            path: JSON lines.
            names: of the photographs.
            pairs: of these.

        Raises:
            InvalidInput: INVALID_RESULTS; a line is malformed.
        """
        self._path = path
        self._pairs = digest(
            {
                "first": [names[row] for row in pairs.first],
                "second": [names[row] for row in pairs.second],
                "folds": pairs.folds,
            }
        )
        self._kept: dict[tuple[str, str, int, str], Measurement] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        try:
            kept = [_Kept.model_validate_json(line) for line in lines]
        except ValidationError as error:
            raise InvalidInput(
                "INVALID_RESULTS", f"{path} is malformed ({error.errors()[0]['msg']}); restore it"
            ) from None
        for each in kept:
            if (each.pairs, each.pillow) == (self._pairs, PIL.__version__):
                bits = np.unpackbits(np.frombuffer(base64.b64decode(each.right), np.uint8))
                key = each.row.codec, each.row.measure, each.target_bytes, each.judge
                right = bits[: each.row.samples].astype(bool)
                self._kept[key] = Measurement(each.row, right)

    def find(self, baseline: Baseline, judge: str) -> Measurement | None:
        """The kept result of a codec for the judge of this digest."""
        return self._kept.get(_key(baseline, judge))

    def add(self, baseline: Baseline, judge: str, measurement: Measurement) -> None:
        """Keep a result."""
        self._kept[_key(baseline, judge)] = measurement
        line = _Kept(
            target_bytes=baseline.target_bytes,
            judge=judge,
            pairs=self._pairs,
            pillow=PIL.__version__,
            row=measurement.row,
            right=base64.b64encode(np.packbits(measurement.right).tobytes()).decode(),
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(line.model_dump_json() + "\n")


def _key(baseline: Baseline, judge: str) -> tuple[str, str, int, str]:
    return baseline.codec.name, baseline.measure, baseline.target_bytes, judge
