"""A process to be killed: changes a gallery without end and says what is acknowledged, after it is.

Each line is a sign, and whom it is about::

    + n    person n is enrolled          ? n    is about to be deleted     - n    is deleted
    e n    and off the disk
    I n    collection n is imported      x n    is about to be deleted     X n    is deleted
    S s    space s is served
"""

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.opening import open_gallery
from recognizer_service.gallery.types import Enrolment, NewFace
from shared.errors import FailedPrecondition
from tests.gallery_embedder import CODEC, SeededEmbedder, vector_of
from tests.gallery_faces import new_face

SPACES = ("space-a", "space-b")
CHUNK = 20_000


def say(sign: str, what: object) -> None:
    """Acknowledge something."""
    print(sign, what, flush=True)  # noqa: T201 - the parent reads it


def enroll(gallery: Gallery, number: int) -> None:
    """Enrol person `number`, embedded in the space that is served."""
    png = new_face(number).png
    face = NewFace(CODEC, png, vector_of(png, gallery.spaces.served))
    gallery.enroll("default", Enrolment((face,), f"person-{number}"), request_id=str(number))
    say("+", number)


def delete(gallery: Gallery, number: int) -> None:
    """Delete person `number`."""
    say("?", number)
    deletion = gallery.subjects.delete("default", f"person-{number}")
    say("-", number)
    if number % 2 and gallery.database.erased(deletion.erasure, wait_s=30):
        say("e", number)


def enrolling(gallery: Gallery, numbers: Iterator[int], _archive: Path) -> None:
    """Enrol, and delete every third again."""
    for number in numbers:
        enroll(gallery, number)
        if number % 3 == 0:
            delete(gallery, number)


def importing(gallery: Gallery, numbers: Iterator[int], archive: Path) -> None:
    """Import one archive under ever new names, and delete every other collection again."""
    content = archive.read_bytes()
    for number in numbers:
        name = f"import-{number}"
        embedder = SeededEmbedder(gallery.spaces.served)
        with gallery.archives.importing(collection_id=name, embedder=embedder) as importer:
            for start in range(0, len(content), CHUNK):
                importer.feed(content[start : start + CHUNK])
            importer.finish()
        say("I", number)
        if number % 2:
            say("x", number)
            gallery.collections.delete(name, force=True)
            say("X", number)


def reembedding(gallery: Gallery, numbers: Iterator[int], _archive: Path) -> None:
    """Change from one space to the other and back, with people coming and going meanwhile."""
    for number in numbers:
        target = SPACES[gallery.spaces.served == SPACES[0]]
        enroll(gallery, number)
        for step in gallery.spaces.fill(SeededEmbedder(target)):
            if step.faces_done == step.faces_total and number % 3 == 0:
                delete(gallery, number)
                break
        _serve(gallery, target)
        if number % 4 == 0:
            gallery.spaces.discard_others()


def swapping(gallery: Gallery, numbers: Iterator[int], _archive: Path) -> None:
    """Change from one space to the other and back, nearly nothing to embed in between."""
    for number in numbers:
        target = SPACES[gallery.spaces.served == SPACES[0]]
        if number % 5 == 0:
            enroll(gallery, number)
        _serve(gallery, target)


def _serve(gallery: Gallery, space: str) -> None:
    try:
        gallery.spaces.serve(space)
    except FailedPrecondition:  # enrolled since it was filled
        list(gallery.spaces.fill(SeededEmbedder(space)))
        gallery.spaces.serve(space)
    say("S", space)


DEEDS = {deed.__name__: deed for deed in (enrolling, importing, reembedding, swapping)}


def main(deed: str, path: Path, space: str, first: int, archive: Path) -> None:
    """Do it until killed."""
    with open_gallery(
        lambda name, size: Gallery(path, embedding_space=name, embedding_size=size), space, 512
    ) as gallery:
        say("S", gallery.spaces.served)
        DEEDS[deed](gallery, count(first), archive)


if __name__ == "__main__":
    _, deed_, path_, space_, first_, archive_ = sys.argv
    main(deed_, Path(path_), space_, int(first_), Path(archive_))
