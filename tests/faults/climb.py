"""Climbs towards a stranger over the wire: changes a map symbol by symbol until it matches.

The attacker has a credential with the scope verify, a map of another face, and the id of a
subject. It keeps a change that brings it closer, as far as answers say so; where they do not it
goes on from any map. As a script it serves a model and attacks it, by default with 100,000 calls,
and prints what came of it as JSON; it ends with 1 if it reached a match::

    python -m tests.faults.climb --models deploy/models --calls 100000
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np

from compactface.v1 import gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from shared.codec.compact_map import MapFormat, pack, unpack
from shared.faces.picture import PictureLimits
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.model_directory import ModelDirectory
from tests.services.access import AccessFolder, bearer
from tests.services.hosting import Service, running_recognizer

SUBJECT = "target"
_CHANGES = 6  # symbols at once


@dataclass
class Climb:
    """What became of an attack.

    Attributes:
        calls: made.
        refused: of these, for want of attempts.
        told: that said how similar the map was.
        reached: whether one of them matched.
        similarity: of the map that the attacker believed to be the best, by the service's own
            measure; the attacker may not know it.
    """

    calls: int = 0
    refused: int = 0
    told: int = 0
    reached: bool = False
    similarity: float = 0.0


async def climb(
    service: Service, token: str, start: CompactMap, fmt: MapFormat, *, calls: int, seed: int = 0
) -> tuple[Climb, CompactMap]:
    """Attack `SUBJECT`; also gives the best map."""
    chance = np.random.default_rng(seed)
    found, best, best_similarity = Climb(), unpack(start.png, fmt), -1.0
    while found.calls < calls and not found.reached:
        tried = best.copy()
        places = chance.integers(tried.size - fmt.spared, size=_CHANGES)
        tried.reshape(-1)[places] = chance.integers(fmt.levels, size=_CHANGES)
        request = recognizer_pb2.VerifyRequest(
            probe=recognizer_pb2.Probe(map=_with(start, tried, fmt)), subject_id=SUBJECT
        )
        found.calls += 1
        try:
            answer = await service.recognizer.Verify(request, metadata=bearer(token))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            found.refused += 1
            continue
        found.told += not answer.similarities_withheld
        found.reached = answer.decision == recognizer_pb2.VERIFY_DECISION_MATCH
        if answer.similarities_withheld or answer.similarity > best_similarity:
            best, best_similarity = tried, answer.similarity
    return found, _with(start, best, fmt)


def _with(face: CompactMap, symbols: np.ndarray, fmt: MapFormat) -> CompactMap:
    return CompactMap(codec_id=face.codec_id, png=pack(symbols, fmt))


async def attack(models: Path, crops: np.ndarray, *, calls: int, scope: str, folder: Path) -> Climb:
    """Serve a model, enroll the first crop, and climb towards it from the second."""
    model = ModelDirectory.load(models, "default")
    encoder = OnnxCropEncoder(model)
    target, stranger = (
        CompactMap(codec_id=encoder.codec_id, png=png) for png in encoder.encode(crops)
    )
    access = AccessFolder(folder / "access.toml")
    admin, attacker = access.token("admin"), access.token(scope, name="mallory")
    async with running_recognizer(models, folder / "gallery.sqlite", access=access.path) as service:
        await service.gallery.Enroll(
            gallery_pb2.EnrollRequest(subject_id=SUBJECT, maps=[target]), metadata=bearer(admin)
        )
        fmt = model.codec().map_format
        found, best = await climb(service, attacker, stranger, fmt, calls=calls)
        answer = await service.recognizer.Verify(
            recognizer_pb2.VerifyRequest(probe=recognizer_pb2.Probe(map=best), subject_id=SUBJECT),
            metadata=bearer(admin),
        )
        found.similarity = round(answer.similarity, 3)
    return found


def sample_faces(models: Path) -> np.ndarray:
    """Aligned faces of two of the sample photographs."""
    from encoder_service.core.encoder import Encoder  # noqa: PLC0415 - only the script needs it
    from shared.faces.mtcnn import MtcnnDetector  # noqa: PLC0415

    encoder = Encoder(
        detector=MtcnnDetector(),
        crop_encoder=OnnxCropEncoder(ModelDirectory.load(models, "default")),
        limits=PictureLimits(),
        max_faces=1,
    )
    data = Path(__file__).parents[1] / "data"
    photos = [data / "barack_obama_blue_room.jpg", data / "eileen_collins_portrait.jpg"]
    return np.stack([encoder.encode(photo.read_bytes()).faces[0].crop for photo in photos])


def main() -> int:
    """Attack, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("deploy/models"))
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--scope", choices=["verify", "admin"], default="verify")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            attack(
                options.models,
                sample_faces(options.models),
                calls=options.calls,
                scope=options.scope,
                folder=Path(folder),
            )
        )
    print(json.dumps(asdict(found)))  # noqa: T201
    return int(found.reached)


if __name__ == "__main__":
    sys.exit(main())
