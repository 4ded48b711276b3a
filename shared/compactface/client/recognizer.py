"""RecognizerService: identify and verify compact maps."""

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
"""A compact map, or the id of a sighting of the collection."""


Sighting = tuple[str, CompactMap]
"""The id of a sighting (a UUID, the same for every retry) and its map."""


class Recognizer(Group[T]):
    """Methods of a recognizer client; all of them raise `RequestFailed`.

    Attributes:
        subjects: enrolled subjects.
        faces: enrolled faces of subjects.
        collections: isolated galleries.
        erasures: erasure of deleted data from disk.
        audit_events: the audit log.
        sightings: faces streamed by cameras, with their identification.
        alerts: rules that send an alert when a person is seen.
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
        """Return the client with a deadline of `timeout_s` seconds per call.

        It shares the connection and need not be closed.
        """
        return Recognizer(self._within(timeout_s))

    def with_token(self, token: str) -> "Recognizer[T]":
        """Return the client with another bearer token; "": none.

        It shares the connection and need not be closed.
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
        """Identify a probe. No match is a normal response.

        Args:
            probe: a map, or the id of a sighting.
            collection: collection to search; "" means "default".
            max_fpir: maximum false positive identification rate, in (0, 1).
            min_similarity: minimum cosine similarity of a match, in [-1, 1]. With neither, the
                collection's default applies.
            max_subjects: maximum number of candidates.

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
        """Identify several probes; one result per probe, in order.

        An invalid probe does not affect the others: its result has `error` set, which
        `RequestFailed.from_status` decodes.

        Args:
            probes: at most `max_batch` of `info`.
            collection: collection to search; "" means "default".
            max_fpir: as in `identify`.
            min_similarity: as in `identify`.
            max_subjects: maximum number of candidates per probe.
            pictures: for each probe, a name of the image it is from. A subject then matches at most
                one face of an image; in other faces' candidates it has `taken` set. None: probes
                are independent.

        Raises:
            ValueError: both thresholds are given, or `pictures` and `probes` differ in length.
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
        """Verify whether two faces show the same person.

        Args:
            probe: a map, or the id of a sighting.
            reference: another map, or the id of an enrolled subject.
            collection: of subject, sighting and default threshold; "" means "default".
            max_fmr: maximum false match rate, in (0, 1).
            min_similarity: minimum cosine similarity of a match, in [-1, 1]. With neither, the
                collection's default applies.

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
        """Stream maps as an encoder's uplink does; one acknowledgement per map, in order.

        No deadline.

        Args:
            sightings: ids (UUIDs, the same for every retry) and maps; read in another thread or
                task. An exception of the iterator ends the stream and is raised here.
        """
        call = CallOfEach(
            self._stub.StreamMaps, _sighting, recognizer_pb2.StreamMapsResponse, stand_in=_stand_in
        )
        return self._transport.each(call, sightings)

    @unary
    def embed(self, map_: CompactMap) -> Call[recognizer_pb2.EmbedResponse]:
        """Get a map's embedding of unit length, and the id of its embedding space."""
        return Call(
            self._stub.Embed, recognizer_pb2.EmbedRequest(map=map_), recognizer_pb2.EmbedResponse
        )

    @unary
    def reconstruct(
        self, probe: Probe, *, collection: str = ""
    ) -> Call[recognizer_pb2.ReconstructResponse]:
        """Reconstruct a map's image as a PNG of 112 rows by 96 columns."""
        request = recognizer_pb2.ReconstructRequest(collection=collection, probe=_probe(probe))
        return Call(self._stub.Reconstruct, request, recognizer_pb2.ReconstructResponse)

    @unary
    def reembed(self) -> Call[gallery_pb2.ReembedResponse]:
        """Start migrating the gallery to the current model, or return the progress.

        Repeat until the response has `done` set; the previous model serves meanwhile.
        """
        request = gallery_pb2.ReembedRequest()
        return Call(self._gallery.Reembed, request, gallery_pb2.ReembedResponse)

    @unary
    def info(self) -> Call[recognizer_pb2.GetRecognizerInfoResponse]:
        """Get the model, supported codecs, and limits."""
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
