"""Both services through `compactface.client`, under asyncio.

python client.py PHOTO [ENCODER [RECOGNIZER]], where the services are host:port. Without asyncio,
import the clients from `compactface.client`, and leave out `async` and `await`.
"""

import asyncio
import sys
import uuid
from pathlib import Path

from compactface.client import InvalidArgument
from compactface.client.aio import EncoderClient, RecognizerClient
from compactface.v1.recognizer_pb2 import IdentifyDecision, VerifyDecision


async def main(image, encoder_at="localhost:50051", recognizer_at="localhost:50052"):
    async with EncoderClient(encoder_at) as encoder, RecognizerClient(recognizer_at) as recognizer:
        faces = (await encoder.encode(image)).faces
        if not faces:
            sys.exit("the picture shows no face")
        face = faces[0]  # the largest
        print(f"encode: {face.size_bytes} bytes of codec {face.map.codec_id}")

        collection = f"example-{uuid.uuid4()}"
        await recognizer.collections.create(collection)
        try:
            await ask(collection, face.map, recognizer)
        finally:
            await recognizer.collections.delete(collection, force=True)


async def ask(collection, face, recognizer):
    """Enroll a face, recognize it, and be refused."""
    await recognizer.subjects.enroll([face], subject_id="ada", collection=collection)

    answer = await recognizer.identify(face, collection=collection, max_fpir=0.01)
    best = answer.candidates[0]
    decision = IdentifyDecision.Name(answer.decision)
    print(f"identify: {decision} {best.subject_id} {best.similarity:.3f}")

    answer = await recognizer.verify(face, "ada", collection=collection)
    print(f"verify: {VerifyDecision.Name(answer.decision)} {answer.similarity:.3f}")

    face.png = face.png[:-1]
    try:
        await recognizer.identify(face, collection=collection)
    except InvalidArgument as error:
        print(f"refused: {error.code} {error.reason} in {error.field}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_bytes(), *sys.argv[2:]))
