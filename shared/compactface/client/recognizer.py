"""Client of the recognizer: who compact maps show, and who is to be known."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from compactface.client.archive import ArchiveClient
from compactface.client.sightings import Sightings
from compactface.v1 import recognizer_pb2, recognizer_pb2_grpc
from compactface.v1.compact_map_pb2 import CompactMap

_MAX_ID_CHARACTERS = 128

Probe = CompactMap | str
"""What is being asked about: a compact map, or the id of a sighting of the collection."""


class RecognizerClient(ArchiveClient):
    """Blocking client of RecognizerService and GalleryService; methods raise `RequestFailed`."""

    _service_name = "recognizer"

    @cached_property
    def _service(self) -> Any:
        return recognizer_pb2_grpc.RecognizerServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated

    @cached_property
    def sightings(self) -> Sightings:
        """What cameras streamed."""
        return Sightings(self._service, self._gallery, self._call, self._stream)

    def _info(self) -> recognizer_pb2.GetRecognizerInfoResponse:
        return self.get_recognizer_info()

    def identify(
        self,
        probe: Probe,
        *,
        collection: str = "",
        max_fpir: float | None = None,
        min_similarity: float | None = None,
        max_subjects: int = 1,
    ) -> recognizer_pb2.IdentifyResponse:
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
        return self._call(self._service.Identify, request, recognizer_pb2.IdentifyResponse)

    def batch_identify(
        self,
        probes: Sequence[Probe],
        *,
        collection: str = "",
        max_fpir: float | None = None,
        min_similarity: float | None = None,
        max_subjects: int = 1,
        pictures: Sequence[str] | None = None,
    ) -> recognizer_pb2.BatchIdentifyResponse:
        """Who are these? One result for each probe, in order; further options as in `identify`.

        A bad probe spoils no other: its result has `error` set, which
        `RequestFailed.from_status` decodes.

        Args:
            probes: at most `max_batch` of `get_recognizer_info`.
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
        return self._call(
            self._service.BatchIdentify, request, recognizer_pb2.BatchIdentifyResponse
        )

    def verify(
        self,
        probe: Probe,
        reference: CompactMap | str,
        *,
        collection: str = "",
        max_fmr: float | None = None,
        min_similarity: float | None = None,
    ) -> recognizer_pb2.VerifyResponse:
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
        return self._call(self._service.Verify, request, recognizer_pb2.VerifyResponse)

    def stream_maps(
        self, sightings: Iterable[tuple[str, CompactMap]]
    ) -> Iterator[recognizer_pb2.StreamMapsResponse]:
        """Hand over maps as an encoder's uplink does; one acknowledgement for each, in order.

        Args:
            sightings: ids (UUIDs, the same on every try) and maps; read in another thread.
        """
        requests = (
            recognizer_pb2.StreamMapsRequest(sighting_id=sighting_id, map=map_)
            for sighting_id, map_ in sightings
        )
        return self._stream_each(
            self._service.StreamMaps,
            requests,
            recognizer_pb2.StreamMapsResponse,
            stand_in=lambda request: recognizer_pb2.StreamMapsRequest(
                sighting_id=request.sighting_id[:_MAX_ID_CHARACTERS]
            ),
        )

    def embed(self, map_: CompactMap) -> recognizer_pb2.EmbedResponse:
        """The embedding of a map, of unit length, and the space that it may be compared in."""
        return self._call(
            self._service.Embed, recognizer_pb2.EmbedRequest(map=map_), recognizer_pb2.EmbedResponse
        )

    def reconstruct(
        self, probe: Probe, *, collection: str = ""
    ) -> recognizer_pb2.ReconstructResponse:
        """The picture that a map holds, as a PNG of 112 rows by 96 columns."""
        request = recognizer_pb2.ReconstructRequest(collection=collection, probe=_probe(probe))
        return self._call(self._service.Reconstruct, request, recognizer_pb2.ReconstructResponse)

    def get_recognizer_info(self) -> recognizer_pb2.GetRecognizerInfoResponse:
        """Model, codecs that can be decoded, and limits."""
        request = recognizer_pb2.GetRecognizerInfoRequest()
        return self._call(
            self._service.GetRecognizerInfo, request, recognizer_pb2.GetRecognizerInfoResponse
        )


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
