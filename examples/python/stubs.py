"""Both services from stubs of one's own making; nothing of compactface is imported.

python stubs.py PHOTO [ENCODER [RECOGNIZER]], where the services are host:port.
"""

import sys
import uuid
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from compactface.v1 import (
    encoder_pb2,
    encoder_pb2_grpc,
    gallery_pb2,
    gallery_pb2_grpc,
    recognizer_pb2,
    recognizer_pb2_grpc,
)


def main(photo, encoder_at="localhost:50051", recognizer_at="localhost:50052"):
    with (
        grpc.insecure_channel(encoder_at) as camera,
        grpc.insecure_channel(recognizer_at) as centre,
    ):
        encoder = encoder_pb2_grpc.EncoderServiceStub(camera)
        recognizer = recognizer_pb2_grpc.RecognizerServiceStub(centre)
        gallery = gallery_pb2_grpc.GalleryServiceStub(centre)

        request = encoder_pb2.EncodeRequest(image=Path(photo).read_bytes())
        faces = encoder.Encode(request, timeout=10).faces
        if not faces:
            sys.exit(f"{photo} shows no face")
        face = faces[0]  # the largest
        print(f"encode: {face.size_bytes} bytes of codec {face.map.codec_id}")

        collection = f"example-{uuid.uuid4()}"
        gallery.CreateCollection(
            gallery_pb2.CreateCollectionRequest(
                collection=gallery_pb2.Collection(collection_id=collection)
            )
        )
        try:
            ask(collection, face.map, recognizer, gallery)
        finally:
            gallery.DeleteCollection(
                gallery_pb2.DeleteCollectionRequest(collection=collection, force=True)
            )


def ask(collection, face, recognizer, gallery):
    """Enroll a face, recognize it, and be refused."""
    gallery.Enroll(gallery_pb2.EnrollRequest(collection=collection, subject_id="ada", maps=[face]))

    probe = recognizer_pb2.Probe(map=face)
    threshold = recognizer_pb2.IdentifyThreshold(max_fpir=0.01)
    answer = recognizer.Identify(
        recognizer_pb2.IdentifyRequest(collection=collection, probe=probe, threshold=threshold)
    )
    best = answer.candidates[0]
    decision = recognizer_pb2.IdentifyDecision.Name(answer.decision)
    print(f"identify: {decision} {best.subject_id} {best.similarity:.3f}")

    answer = recognizer.Verify(
        recognizer_pb2.VerifyRequest(collection=collection, probe=probe, subject_id="ada")
    )
    print(f"verify: {recognizer_pb2.VerifyDecision.Name(answer.decision)} {answer.similarity:.3f}")

    probe.map.png = probe.map.png[:-1]
    try:
        recognizer.Identify(recognizer_pb2.IdentifyRequest(collection=collection, probe=probe))
    except grpc.RpcError as error:
        print(f"refused: {error.code().name} {explain(error)}")


def explain(error):
    """The reason and the field at fault, out of google.rpc.Status."""
    reason, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(error).details:
        detail.Unpack(reason)  # leaves messages of other types alone
        detail.Unpack(fields)
    return f"{reason.reason} in {fields.field_violations[0].field}"


if __name__ == "__main__":
    main(*sys.argv[1:])
