"""Indexes in Milvus that all processes of a gallery search and update.

The database logs changes (see `change_log`). A process that changes the gallery applies the log
before it answers; if it crashes, the next writer applies the rest first. An acknowledged change is
visible to all processes at once.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

from pymilvus import MilvusClient

from recognizer_service.gallery.index import FaceIndex
from recognizer_service.gallery.index.change_log import Change, ChangeLog
from recognizer_service.gallery.index.milvus import MilvusFaces, MilvusIndex, answering, connect
from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.locations import Milvus
from recognizer_service.gallery.storage.spaces import check_embedded
from recognizer_service.gallery.types import EmbeddingSpaceChanged
from shared.errors import FailedPrecondition

_CHANGES_AT_ONCE = 1024


class SharedCache:
    """One Milvus collection per embedding space, and an alias for the one served; see `Cache`."""

    def __init__(
        self,
        database: Database,
        milvus: Milvus,
        space: str,
        size: int,
        client: MilvusClient | None = None,
    ) -> None:
        """Connect to Milvus.

        Args:
            database: source of the embeddings.
            milvus: the Milvus server.
            space: the space to search.
            size: dimension of its embeddings.
            client: an existing connection.

        Raises:
            Unavailable: as `connect`.
        """
        self.space = space
        self.size = size
        self._database = database
        self._milvus = milvus
        self._client = client or connect(milvus)
        self._log = ChangeLog(database)

    def __len__(self) -> int:
        """Return the total number of faces."""
        return self._faces(self.space).count()

    def index_of(self, collection_key: int) -> FaceIndex:
        """Return the index of a collection."""
        return MilvusIndex(self._faces(self.space), collection_key, self._follow)

    def drop(self, collection_key: int) -> None:
        """Drop a deleted collection; the log lists each of its faces."""
        del collection_key
        self._follow()

    def open(self) -> None:
        """Create what is missing, and apply what a crash left in the log; see `Cache`."""
        with self._database.exclusive:
            if not self._log.is_kept():
                with self._database.reading() as connection:
                    check_embedded(connection, self.space)
                self._log.begin(self.space)
            self._check_space()
            if not self._faces(self.space).exist():
                self._log.note_all(self.space)
                self._make(self.space, self.size)
            self._point_alias()
        more = True
        while more:
            with self._database.exclusive:  # in batches, so that other writers can proceed
                more = self._follow_some()

    def catch_up(self) -> None:
        """Apply what a crashed process left in the log; see `Cache`."""
        self.check_served()
        self._follow()

    def check_served(self) -> None:
        """Raise EmbeddingSpaceChanged if another process has changed the space served."""
        served = self._log.served()
        if served != self.space:
            raise EmbeddingSpaceChanged(given=self.space, served=served)

    def in_space(self, space: str, size: int) -> "SharedCache":
        """Return indexes of another space, in the same Milvus."""
        return SharedCache(self._database, self._milvus, space, size, self._client)

    def refresh(self) -> None:
        """Apply the log, which covers all spaces."""
        self._make(self.space, self.size)
        self._follow()

    def serve(self) -> None:
        """Make all processes search in this space; those in another have to change over."""
        self._log.serve(self.space)
        self._point_alias()

    def discard_others(self) -> None:
        """Delete the Milvus collections of all other spaces."""
        kept = self._faces(self.space).name
        with answering():
            for name in self._client.list_collections():
                if name.startswith(f"{self._alias}_") and name != kept:
                    self._client.drop_collection(name)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @cached_property
    def _alias(self) -> str:
        """Name of the alias, unique to this gallery."""
        return self._log.name()

    def _faces(self, space: str) -> MilvusFaces:
        # Milvus allows letters, digits and underscores in names.
        name = f"{self._alias}_{re.sub(r'[^0-9A-Za-z]', '_', space)}"
        return MilvusFaces(self._client, name, self._milvus.index_type)

    def _make(self, space: str, size: int) -> None:
        indexed = self._faces(space)
        if not indexed.exist():
            indexed.create(size)

    def _point_alias(self) -> None:
        """Point the alias at the collection served, for people and tools."""
        name = self._faces(self.space).name
        with answering():
            aliases = self._client.list_aliases()["aliases"]
            change = (
                self._client.alter_alias if self._alias in aliases else self._client.create_alias
            )
            change(collection_name=name, alias=self._alias)

    def _check_space(self) -> None:
        """Check that all processes serve one space; the first sets it if all faces have it."""
        served = self._log.served()
        if served == self.space:
            return
        if not self._database.is_alone():
            raise FailedPrecondition(
                "EMBEDDING_SPACE_MISMATCH",
                f"other processes serve the gallery in embedding space {served}, and the model in "
                f"use embeds in {self.space}: change one of them over, or serve the model of "
                f"{served} too",
                metadata={"gallery": served, "model": self.space},
            )
        with self._database.reading() as connection:
            check_embedded(connection, self.space)
        self._log.serve(self.space)

    def _follow(self) -> None:
        while self._follow_some():
            pass

    def _follow_some(self) -> bool:
        """Apply the oldest log entries; return whether there were any."""
        changes = self._log.changes(_CHANGES_AT_ONCE)
        of_space: dict[str, dict[int, Change]] = defaultdict(dict)
        for change in changes:
            # All entries of a face hold the same current state.
            of_space[change.space][change.face_key] = change
        for space, latest in of_space.items():
            self._apply(space, list(latest.values()))
        if changes:
            self._log.followed(changes)
        return bool(changes)

    def _apply(self, space: str, changes: Sequence[Change]) -> None:
        indexed = self._faces(space)
        gone = [change.face_key for change in changes if change.present is None]
        present = {change.face_key: change.present for change in changes if change.present}
        if present:
            _, embedding = next(iter(present.values()))
            self._make(space, len(embedding))
            indexed.put(present)
        if gone and indexed.exist():  # it does not exist if its space was discarded
            indexed.remove(gone)
