"""What encryption of a gallery's file costs: plain and encrypted galleries by turns.

    python -m tests.benchmarks.bench_encryption --faces 10000 --faces 100000

Opening includes reading all embeddings for the index in memory. Erasing is the time from a deletion
to the confirmation that its data is erased; other writers wait meanwhile if the file is encrypted.
"""

import resource
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from tests.benchmarks.gallery_population import SPACE, Population, fill
from tests.ciphered import encrypted
from tests.gallery_faces import person, wait_until_erased

ENROLLMENTS = 200


def main(
    faces: Annotated[list[int], typer.Option(help="Sizes of gallery.")],
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each.")] = 3,
) -> None:
    """Print the medians of the rounds."""
    table = Table("faces", "gallery", "open s", "enroll ms", "erase s", "peak MB")
    for count in faces:
        with TemporaryDirectory() as folder:
            plain, secret = (
                Path(folder) / "plain" / "g.sqlite",
                Path(folder) / "secret" / "g.sqlite",
            )
            galleries: dict[str, Location] = {"plain": plain, "encrypted": encrypted(secret)}
            for location in galleries.values():
                with Gallery(location, embedding_space=SPACE) as gallery:
                    fill(gallery, Population(count // 2))
                    wait_until_erased(gallery, within_s=600)
            measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in galleries}
            for number in range(rounds):
                for name, location in galleries.items():
                    measured[name].append(_measure(location, number))
            for name, values in measured.items():
                medians = [
                    f"{statistics.median(column):.3g}" for column in zip(*values, strict=True)
                ]
                table.add_row(f"{count:,}", name, *medians)
    Console().print(table)


def _measure(location: Location, number: int) -> tuple[float, ...]:
    """Seconds to open, milliseconds per enrollment, seconds to erase, megabytes so far."""
    begun = time.perf_counter()
    with Gallery(location, embedding_space=SPACE) as gallery:
        opened = time.perf_counter()
        first = 10**6 + number * ENROLLMENTS
        people = [person(first + each) for each in range(ENROLLMENTS)]
        enrolling = time.perf_counter()
        for each in people:
            gallery.enroll("default", each)
        enrolled = time.perf_counter()
        gone = gallery.subjects.delete("default", str(people[0].subject_id))
        assert gallery.database.erased(gone.erasure, wait_s=600)
        erased = time.perf_counter()
        assert gallery.check().ok
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        opened - begun,
        1000 * (enrolled - enrolling) / ENROLLMENTS,
        erased - enrolled,
        peak,
    )


if __name__ == "__main__":
    typer.run(main)
