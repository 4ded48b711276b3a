"""The recognizer: its parts, and what needs no search."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from recognizer_service.core.attempts import Attempts
from recognizer_service.core.drift import CalibrationChecks
from recognizer_service.core.enroll import Enroller
from recognizer_service.core.identify import Identifier
from recognizer_service.core.networks import ModelInUse, Networks
from recognizer_service.core.parts import Parts, embedded
from recognizer_service.core.sightings import SightingDesk
from recognizer_service.core.types import Doubt, FaceMap, Probe, Timings
from recognizer_service.core.verify import Verifier
from recognizer_service.gallery.audit import Operation
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Embedding
from recognizer_service.metrics import RecognizerMetrics
from shared.inference.map_decoder import MapDecoder
from shared.threads import in_thread_of


class Recognizer:
    """Decodes, embeds, compares and stores; its methods run on one event loop.

    Attributes:
        model: the networks that serve.
        gallery: the enrolled subjects.
        checks: compares the calibration with the probes served.
        identifier: searches the gallery.
        verifier: compares faces with faces or subjects.
        enroller: enrolls subjects.
        sightings: stores and identifies streamed maps.
        in_thread: runs a blocking read of the gallery or decoder in a thread.
        in_writer: runs a blocking write of the gallery in a thread.
    """

    def __init__(
        self,
        *,
        model: ModelInUse,
        gallery: Gallery,
        readers: ThreadPoolExecutor,
        writers: ThreadPoolExecutor,
        metrics: RecognizerMetrics,
        attempts: Attempts,
        checks: CalibrationChecks,
    ) -> None:
        """Create a recognizer.

        Args:
            model: the networks that serve, in the gallery's space.
            gallery: the enrolled subjects.
            readers: threads for reads.
            writers: threads for writes. They are separate, as writes wait for each other and for
                database locks, and searches need not.
            metrics: records answers and sightings.
            attempts: limits callers' attempts.
            checks: compares the calibration with the probes served.
        """
        self.model = model
        self.gallery = gallery
        self.in_thread = in_thread_of(readers)
        self.in_writer = in_thread_of(writers)
        self.checks = checks
        self._parts = Parts(gallery, model, self.in_thread, metrics, attempts, checks)
        self._metrics = metrics
        self.identifier = Identifier(self._parts)
        self.verifier = Verifier(self._parts)
        self.sightings = SightingDesk(
            gallery.sightings,
            gallery.strangers,
            model,
            self.identifier.search,
            in_thread=self.in_thread,
            in_writer=self.in_writer,
            metrics=metrics,
        )
        self.enroller = Enroller(
            gallery=gallery,
            model=model,
            identify_anew=self.sightings.identify_anew,
            in_thread=self.in_thread,
            in_writer=self.in_writer,
        )
        metrics.serves(model.networks.decoder.model.manifest)

    @property
    def decoder(self) -> MapDecoder:
        """RecNets and extractor of the model that serves."""
        return self.model.networks.decoder

    async def change_to(self, networks: Networks) -> None:
        """Switch to other networks and the gallery to their space, without dropping a request.

        Raises:
            FailedPrecondition: faces have no embedding in that space yet
                (EMBEDDING_SPACE_INCOMPLETE).
        """

        async def serve(space: str) -> None:
            await self.in_writer(self.gallery.spaces.serve, space)

        old = await self.model.change_to(networks, serve)
        self.checks.clear()
        self._metrics.serves(networks.decoder.model.manifest)
        await old.retire()

    async def review(self, collection_id: str, subject_id: str) -> tuple[Doubt, ...]:
        """Return the doubtful faces of a subject.

        Raises:
            NotFound: no such collection or subject.
        """
        collection = await self._parts.collection(collection_id)

        async def reviewed(networks: Networks) -> tuple[Doubt, ...]:
            reviews = await self.in_thread(
                self.gallery.review, collection_id, subject_id, space=networks.space
            )
            return networks.judge.doubts(reviews, collection)

        return await self.model.ask(reviewed)

    async def embed(self, face: FaceMap) -> tuple[Embedding, str]:
        """Embed a map: (D,) float32 of unit length, and its space; see `Identifier.identify`."""
        networks = self.model.networks
        (found,) = await embedded(networks, [face], Timings())
        return found.embedding, networks.space

    async def reconstruct(self, collection_id: str, probe: Probe) -> NDArray[np.uint8]:
        """Reconstruct the picture of a probe: (112, 96, 3) uint8 RGB.

        Raises:
            NotFound: no such collection or sighting.
            CompactfaceError: as `picture_of`.
        """
        return await self.picture_of(await self._parts.face(collection_id, probe))

    async def picture_of(self, face: FaceMap) -> NDArray[np.uint8]:
        """Reconstruct the picture of a map: (112, 96, 3) uint8 RGB.

        Raises:
            InvalidInput: an invalid map.
            UnknownCodec: no decoder for it.
        """
        networks = self.model.networks
        (opened,) = networks.opened([face])
        maps = [(face.codec_id, opened.symbols)]
        pictures = await self.in_thread(networks.decoder.reconstruct, maps)
        picture: NDArray[np.uint8] = pictures[0]
        return picture

    async def note(
        self, operation: Operation, collection_id: str, *, subject_id: str = "", caller: str
    ) -> None:
        """Write an audit event before data is disclosed."""
        await self.in_writer(
            self.gallery.audit.note,
            operation,
            collection_id,
            subject_id=subject_id,
            caller=caller,
        )
