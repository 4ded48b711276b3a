"""The errors of the domain, in one hierarchy.

::

    CompactfaceError
    ├── InvalidInput             a field of the request breaks a limit
    │   ├── InvalidImage         not a picture we can read, or too large, or too small
    │   └── InvalidCompactMap    not a legal PNG of the codec's geometry and levels
    ├── Unauthenticated          the caller has no valid credential
    ├── PermissionDenied         the caller's role does not include this
    ├── NotFound                 no such collection, subject, face or sighting
    ├── AlreadyExists            subject or collection exists; request id with another body
    ├── FailedPrecondition       the state of the server forbids it
    │   └── UnknownCodec         no decoder here for that codec id
    ├── DeadlineExceeded         it took longer than it may
    ├── Overloaded               too much at once; try again after `retry_after_s`
    ├── Unavailable              a peer or a component is away; try again
    ├── Unimplemented            the protocol has it, this version does not
    ├── InvalidModel             a model directory is damaged or incomplete
    └── InvalidTraining          an unusable recipe, run folder or set of training faces

Messages name the value and the limit and are safe to show to a client. The domain raises these
errors; an interceptor (`shared.serving.error_interceptor`) converts them to `google.rpc.Status`.
Any other exception is a bug, and the client sees only "internal error".
"""

from collections.abc import Mapping
from typing import ClassVar


class CompactfaceError(Exception):
    """Base class of all errors of the domain.

    Attributes:
        code: name of the `google.rpc.Code` of the response.
        reason: UPPER_SNAKE_CASE, stable, for programs (ErrorInfo.reason).
        message: one sentence for people.
        field: path of the invalid request field, "" if there is none.
        metadata: further facts for programs (ErrorInfo.metadata).
    """

    code: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.metadata = dict(metadata or {})

    def in_field(self, field: str) -> "CompactfaceError":
        """Set the request field, which code deep in the domain does not know."""
        self.field = field
        return self


class InvalidInput(CompactfaceError):
    """A field of the request breaks a limit."""

    code = "INVALID_ARGUMENT"


class InvalidImage(InvalidInput):
    """Not a picture we can read, or too large, or too small."""


class InvalidCompactMap(InvalidInput):
    """Not a legal PNG of the codec's geometry and levels."""


class Unauthenticated(CompactfaceError):
    """The caller has no valid credential."""

    code = "UNAUTHENTICATED"


class PermissionDenied(CompactfaceError):
    """The caller's role does not include this."""

    code = "PERMISSION_DENIED"


class NotFound(CompactfaceError):
    """No such collection, subject, face or sighting."""

    code = "NOT_FOUND"


class AlreadyExists(CompactfaceError):
    """The subject or collection exists, or the request id was used with another body."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(CompactfaceError):
    """The state of the server forbids it; the same request may succeed after a change."""

    code = "FAILED_PRECONDITION"


class UnknownCodec(FailedPrecondition):
    """No decoder for this codec id."""

    def __init__(self, codec_id: str, known: list[str], *, field: str = "") -> None:
        names = ", ".join(known) or "none"
        super().__init__(
            "UNKNOWN_CODEC",
            f"no decoder for codec {codec_id!r:.80}; this server decodes: {names}",
            field=field,
            metadata={"codec_id": codec_id[:80], "known": ",".join(known)},
        )


class DeadlineExceeded(CompactfaceError):
    """It took longer than it may."""

    code = "DEADLINE_EXCEEDED"


class Overloaded(CompactfaceError):
    """Overload.

    Attributes:
        retry_after_s: seconds to wait before a retry (RetryInfo).
    """

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, reason: str, message: str, *, retry_after_s: float) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class Unavailable(CompactfaceError):
    """A peer or a component is unavailable; retry.

    Attributes:
        retry_after_s: seconds to wait before a retry (RetryInfo); None if unknown.
    """

    code = "UNAVAILABLE"

    def __init__(self, reason: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class Unimplemented(CompactfaceError):
    """In the protocol, but not implemented in this version."""

    code = "UNIMPLEMENTED"


class InvalidModel(CompactfaceError):
    """A model directory is damaged or incomplete: start-up fails, or a reload is rejected."""

    code = "FAILED_PRECONDITION"


class InvalidTraining(CompactfaceError):
    """An unusable recipe, run folder or set of training faces."""

    code = "INVALID_ARGUMENT"


class TrainingStopped(CompactfaceError):
    """A training was stopped; its progress is saved."""

    code = "CANCELLED"

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(
            "TRAINING_STOPPED",
            f"stopped after step {step} of {steps}; the same command resumes it",
        )
