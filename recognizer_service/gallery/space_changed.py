"""The error of who comes with embeddings of a space that is served no longer."""

from shared.errors import FailedPrecondition


class EmbeddingSpaceChanged(FailedPrecondition):
    """What was embedded in one space came after the gallery had moved to another; embed anew."""

    def __init__(self, *, given: str, served: str) -> None:
        super().__init__(
            "EMBEDDING_SPACE_CHANGED",
            f"embeddings of space {given} came, and the gallery serves space {served} since",
            metadata={"given": given, "served": served},
        )
