"""A collection of one face, for what is decided without a gallery."""

from datetime import UTC, datetime

from recognizer_service.gallery.types import Collection, SubjectScore

ONE_FACE = Collection(
    collection_id="default",
    max_fpir=1e-2,
    max_fmr=1e-2,
    sighting_retention_s=0,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    subject_count=1,
    face_count=1,
    max_subjects=0,
    max_faces=0,
    subject_retention_s=0,
    subject_score=SubjectScore.BEST_FACE,
    max_stranger_fpir=0.0,
    min_liveness=0.0,
)
