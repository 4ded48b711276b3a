"""Archives a collection, and restores it."""

from recognizer_service.gallery.archive.importing import Imported
from recognizer_service.gallery.gallery import Gallery
from tests.gallery_embedder import SeededEmbedder


def archive_of(gallery: Gallery, collection: str = "guests") -> bytes:
    """The archive of a collection."""
    return b"".join(gallery.archives.export(collection))


def restore(
    gallery: Gallery,
    archive: bytes,
    *,
    collection_id: str = "",
    embedder: SeededEmbedder | None = None,
    chunk: int = 1000,
) -> Imported:
    """Import an archive piece by piece."""
    with gallery.archives.importing(collection_id=collection_id, embedder=embedder) as importer:
        for start in range(0, len(archive), chunk):
            importer.feed(archive[start : start + chunk])
        return importer.finish()


def assert_nothing_came(gallery: Gallery) -> None:
    """The gallery holds an empty `default` and nothing else."""
    listed = gallery.collections.list().items
    assert [(item.collection_id, item.face_count) for item in listed] == [("default", 0)]
    report = gallery.check()
    assert (report.ok, report.subjects, report.faces, report.indexed) == (True, 0, 0, 0)
