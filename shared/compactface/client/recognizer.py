"""RecognizerService: who compact maps show."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, overload

from compactface.client.alerts import Alerts
from compactface.client.asynchronous import Asyncio
from compactface.client.blocking import Blocking
from compactface.client.call import Call, CallOfEach, Service, message_too_large
from compactface.client.collections import AuditEvents, Collections, Erasures
from compactface.client.methods import Group, T, unary
from compactface.client.sightings import Sightings
from compactface.client.subjects import Faces, Subjects
from compactface.v1 import (
    alerts_pb2_grpc,
    gallery_pb2,
    gallery_pb2_grpc,
    recognizer_pb2,
    recognizer_pb2_grpc,
)
from compactface.v1.compact_map_pb2 import CompactMap

_MAX_ID_CHARACTERS = 128

Probe = CompactMap | str
"""What is being asked about: a compact map, or the id of a sighting of the collection."""


Sighting = tuple[str, CompactMap]
"""The id of a sighting (a UUID, the same on every try) and its map."""


class Recognizer(Group[T]):
    """What can be asked of a recognizer; every method raises `RequestFailed`.

    Attributes:
        subjects: who is known.
        faces: the enrolled faces of subjects.
        collections: isolated galleries.
        erasures: whether deleted bytes have left the disk.
        audit_events: who did what to whom.
        sightings: what cameras streamed, and who it shows.
        alerts: rules by which somebody is told who passes.
    """

    def __init__(self, transport: T) -> None:
        super().__init__(transport, _stub(transport.channel))
        self._gallery: Any = gallery_pb2_grpc.GalleryServiceStub(transport.channel)  # type: ignore[no-untyped-call] # generated
        self.subjects = Subjects(transport, self._gallery)
        self.faces = Faces(transport, self._gallery)
        self.collections = Collections(transport, self._gallery)
        self.erasures = Erasures(transport, self._gallery)
        self.audit_events = AuditEvents(transport, self._gallery)
        self.sightings = Sightings(transport, self._stub, self._gallery)
        self.alerts = Alerts(transport, alerts_pb2_grpc.AlertServiceStub(transport.channel))  # type: ignore[no-untyped-call] # generated

    def with_timeout(self, timeout_s: float) -> "Recognizer[T]":
        """The same client with a deadline of `timeout_s` seconds for each call.

        It shares the connection, and needs not be closed.
        """
        return Recognizer(self._within(timeout_s))

    def with_token(self, token: str) -> "Recognizer[T]":
        """The same client that shows another bearer token, for whom it asks; "": none.

        It shares the connection, and needs not be closed.
        """
        return Recognizer(self._showing(token))

    @unary
    def identify(
        self,
        probe: Probe,
        *,
        collection: str = "",
        max_fpir: float | None = None,
        min_similarity: float | None = None,
        max_subjects: int = 1,
    ) -> Call[recognizer_pb2.IdentifyResponse]:
        """Who is this? No match is a normal answer.

        Args:
            probe: a map, or the id of a sighting.
            collection: whom to search; "" is "default".
            max_fpir: largest tolerable share of strangers that match anybody, in (0, 1).
            min_similarity: cosine that a match must reach, in [-1, 1]. With neither, the
                collection's default holds.
            max_subjects: how many of the best subjects to return.

        Raises:
            ValueError: both thresholds are given.
        """
        request = _identify_request(probe, collection, max_fpir, min_similarity, max_subjects)
        return Call(self._stub.Identify, request, recognizer_pb2.IdentifyResponse)

    @unary
    def batch_identify(
        self,
        probes: Sequence[Probe],
        *,
        collection: str = "",
        max_fpir: float | None = None,
        min_similarity: float | None = None,
        max_subjects: int = 1,
        pictures: Sequence[str] | None = None,
    ) -> Call[recognizer_pb2.BatchIdentifyResponse]:
        """Who are these? One result for each probe, in order; further options as in `identify`.

        A bad probe spoils no other: its result has `error` set, which
        `RequestFailed.from_status` decodes.

        Args:
            probes: at most `max_batch` of `info`.
            collection: whom to search; "" is "default".
            max_fpir: as in `identify`.
            min_similarity: as in `identify`.
            max_subjects: for each probe, how many of the best subjects to return.
            pictures: for each probe, a name of the picture that it is a face of. A subject then
                matches at most one face of a picture; who was taken by another face is listed
                with `taken` set. None: each probe is judged by itself.

        Raises:
            ValueError: both thresholds are given, or not as many pictures as probes.
        """
        requests = [
            _identify_request(probe, collection, max_fpir, min_similarity, max_subjects)
            for probe in probes
        ]
        if pictures is not None:
            for asked, picture in zip(requests, pictures, strict=True):
                asked.picture = picture
        request = recognizer_pb2.BatchIdentifyRequest(requests=requests)
        return Call(self._stub.BatchIdentify, request, recognizer_pb2.BatchIdentifyResponse)

    @unary
    def verify(
        self,
        probe: Probe,
        reference: CompactMap | str,
        *,
        collection: str = "",
        max_fmr: float | None = None,
        min_similarity: float | None = None,
    ) -> Call[recognizer_pb2.VerifyResponse]:
        """Is this the same person?

        Args:
            probe: a map, or the id of a sighting.
            reference: another map, or the id of an enrolled subject.
            collection: of subject, sighting and default threshold; "" is "default".
            max_fmr: largest tolerable share of pairs of strangers that match, in (0, 1).
            min_similarity: cosine that a match must reach, in [-1, 1]. With neither, the
                collection's default holds.

        Raises:
            ValueError: both thresholds are given.
        """
        _refuse_both("max_fmr", max_fmr, min_similarity)
        request = recognizer_pb2.VerifyRequest(
            collection=collection,
            probe=_probe(probe),
            subject_id=reference if isinstance(reference, str) else None,
            map=None if isinstance(reference, str) else reference,
            threshold=recognizer_pb2.VerifyThreshold(
                max_fmr=max_fmr, min_similarity=min_similarity
            ),
        )
        return Call(self._stub.Verify, request, recognizer_pb2.VerifyResponse)

    @overload
    def stream_maps(
        self: "Recognizer[Blocking]", sightings: Iterable[Sighting]
    ) -> Iterator[recognizer_pb2.StreamMapsResponse]: ...

    @overload
    def stream_maps(
        self: "Recognizer[Asyncio]", sightings: Iterable[Sighting] | AsyncIterable[Sighting]
    ) -> AsyncIterator[recognizer_pb2.StreamMapsResponse]: ...

    def stream_maps(self, sightings: Any) -> Any:
        """Hand over maps as an encoder's uplink does; one acknowledgement for each, in order.

        There is no deadline.

        Args:
            sightings: ids (UUIDs, the same on every try) and maps; read in another thread or
                task. What they raise ends the stream, and is raised here.
        """
        call = CallOfEach(
            self._stub.StreamMaps, _sighting, recognizer_pb2.StreamMapsResponse, stand_in=_stand_in
        )
        return self._transport.each(call, sightings)

    @unary
    def embed(self, map_: CompactMap) -> Call[recognizer_pb2.EmbedResponse]:
        """The embedding of a map, of unit length, and the space that it may be compared in."""
        return Call(
            self._stub.Embed, recognizer_pb2.EmbedRequest(map=map_), recognizer_pb2.EmbedResponse
        )

    @unary
    def reconstruct(
        self, probe: Probe, *, collection: str = ""
    ) -> Call[recognizer_pb2.ReconstructResponse]:
        """The picture that a map holds, as a PNG of 112 rows by 96 columns."""
        request = recognizer_pb2.ReconstructRequest(collection=collection, probe=_probe(probe))
        return Call(self._stub.Reconstruct, request, recognizer_pb2.ReconstructResponse)

    @unary
    def reembed(self) -> Call[gallery_pb2.ReembedResponse]:
        """Begin to change the gallery over to the current model, or say how far that is.

        Call it again until the answer says `done`; meanwhile the model before serves.
        """
        request = gallery_pb2.ReembedRequest()
        return Call(self._gallery.Reembed, request, gallery_pb2.ReembedResponse)

    @unary
    def info(self) -> Call[recognizer_pb2.GetRecognizerInfoResponse]:
        """Model, codecs that can be decoded, and limits."""
        return _info(self._transport.channel)


def _stub(channel: Any) -> Any:
    return recognizer_pb2_grpc.RecognizerServiceStub(channel)  # type: ignore[no-untyped-call] # generated


def _info(channel: Any) -> Call[recognizer_pb2.GetRecognizerInfoResponse]:
    return Call(
        _stub(channel).GetRecognizerInfo,
        recognizer_pb2.GetRecognizerInfoRequest(),
        recognizer_pb2.GetRecognizerInfoResponse,
    )


def _sighting(sighting: Sighting) -> recognizer_pb2.StreamMapsRequest:
    sighting_id, map_ = sighting
    return recognizer_pb2.StreamMapsRequest(sighting_id=sighting_id, map=map_)


def _stand_in(request: recognizer_pb2.StreamMapsRequest) -> recognizer_pb2.StreamMapsRequest:
    return recognizer_pb2.StreamMapsRequest(sighting_id=request.sighting_id[:_MAX_ID_CHARACTERS])


def _identify_request(
    probe: Probe,
    collection: str,
    max_fpir: float | None,
    min_similarity: float | None,
    max_subjects: int,
) -> recognizer_pb2.IdentifyRequest:
    _refuse_both("max_fpir", max_fpir, min_similarity)
    return recognizer_pb2.IdentifyRequest(
        collection=collection,
        probe=_probe(probe),
        threshold=recognizer_pb2.IdentifyThreshold(
            max_fpir=max_fpir, min_similarity=min_similarity
        ),
        max_subjects=max_subjects,
    )


def _probe(probe: Probe) -> recognizer_pb2.Probe:
    if isinstance(probe, str):
        return recognizer_pb2.Probe(sighting_id=probe)
    return recognizer_pb2.Probe(map=probe)


def _refuse_both(name: str, rate: float | None, min_similarity: float | None) -> None:
    if rate is not None and min_similarity is not None:
        raise ValueError(
            f"both {name} ({rate}) and min_similarity ({min_similarity}) are given; give one"
        )


RECOGNIZER = Service("recognizer", _info, message_too_large)
