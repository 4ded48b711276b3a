"""The manual builds strictly, its links lead somewhere, and no reason and no field is left out."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, ServiceDescriptor

from compactface.v1 import (
    alerts_pb2,
    authorization_pb2,
    compact_map_pb2,
    encoder_pb2,
    gallery_pb2,
    recognizer_pb2,
)
from manual import protocol, troubleshooting
from manual.pages import with_links_of_the_site
from manual.reasons import raised

ROOT = Path(__file__).parents[2]
FILES = (
    *(alerts_pb2, authorization_pb2, compact_map_pb2),
    *(encoder_pb2, gallery_pb2, recognizer_pb2),
)
LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Markup(HTMLParser):
    """The ids of a page, where its links lead, and what it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if (tag, name) in LOADS and value:
                self.loads.append(value)
            if tag == "a" and name == "href" and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Markup]:
    return {page: Markup(page) for page in site.rglob("*.html")}


def test_every_link_leads_to_a_place(site: Path, pages: dict[Path, Markup]) -> None:
    assert len(pages) > 30
    broken = []
    for page, markup in pages.items():
        if page.name == "404.html":  # its links are absolute, for a server
            continue
        for link in (*markup.links, *markup.loads):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            anchored = not parts.fragment or unquote(parts.fragment) in getattr(
                pages.get(target), "ids", ()
            )
            if not target.is_file() or not anchored:
                broken.append((str(page.relative_to(site)), link))
    assert broken == []


def test_nothing_is_loaded_from_other_servers(site: Path, pages: dict[Path, Markup]) -> None:
    loads = [load for markup in pages.values() for load in markup.loads]
    assert loads
    assert [load for load in loads if urlsplit(load).netloc] == []
    styles = [style.read_text(encoding="utf-8") for style in site.rglob("*.css")]
    assert styles
    assert [
        found for style in styles for found in re.findall(r"url\(['\"]?(?:https?:)?//", style)
    ] == []


def test_links_of_the_repository_lead_to_pages() -> None:
    site = {"cameras.md", "report/edge.md", "settings.md", "protocol/index.md"}
    text = "[a](../report/edge.md#x) [`b`](../shared/faces) [c](gone.md) [d](https://e.f)"
    assert with_links_of_the_site(text, "cameras.md", site) == (
        "[a](report/edge.md#x) `b` [c](gone.md) [d](https://e.f)"
    )
    text = "[a](docs/cameras.md) [b](README.md#settings) [c](protos/compactface/v1)"
    assert with_links_of_the_site(text, "index.md", site) == (
        "[a](cameras.md) [b](settings.md) [c](protocol/index.md)"
    )


def test_every_reason_in_the_code_has_advice_and_no_other() -> None:
    advised = [reason for section in troubleshooting.catalogue().values() for reason in section]
    assert len(advised) == len(set(advised))
    assert set(advised) == {each.reason for each in raised()}


def test_no_reason_that_other_tests_expect_is_overlooked() -> None:
    expected = {
        reason
        for test in (ROOT / "tests").rglob("test_*.py")
        for reason in re.findall(
            r"\breason(?:\"\])? == \"([A-Z][A-Z_]+)\"", test.read_text(encoding="utf-8")
        )
    }
    assert len(expected) > 50
    statuses = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}  # without a reason
    assert expected - statuses - {each.reason for each in raised()} == set()


def test_the_page_shows_status_message_and_advice(site: Path) -> None:
    page = (site / "troubleshooting" / "index.html").read_text(encoding="utf-8")
    for section in troubleshooting.catalogue().values():
        for reason in section:
            assert re.search(rf'<h3 id="{reason.lower()}[_0-9]*">{reason}', page), reason
    entry = page.partition('id="empty_image"')[2].partition("<h3")[0]
    for words in ("INVALID_ARGUMENT", "HTTP 400", "picture is empty", "Send the bytes"):
        assert words in entry


def names(of: Descriptor | EnumDescriptor | ServiceDescriptor) -> Iterator[str]:
    """What a type consists of: fields, values or methods, and those of types inside."""
    if isinstance(of, ServiceDescriptor):
        yield from (f"{of.name}.{method.name}" for method in of.methods)
    elif isinstance(of, EnumDescriptor):
        yield from (value.name for value in of.values)
    elif not of.GetOptions().map_entry:
        yield from (field.name for field in of.fields)
        for inner in (*of.nested_types, *of.enum_types):
            yield from names(inner)


def test_the_reference_describes_everything_in_the_protocol() -> None:
    pages = protocol.pages()
    for module in FILES:
        file = module.DESCRIPTOR
        page = pages[f"protocol/{Path(file.name).stem}.md"]
        everything = (
            *file.services_by_name.values(),
            *file.message_types_by_name.values(),
            *file.enum_types_by_name.values(),
        )
        for described in everything:
            for name in names(described):
                row = re.search(rf"^\| `{name}` \| .* \| (.*) \|$", page, re.MULTILINE)
                heading = re.search(rf"{{ #{name} }}\n\n.* → .*\n\nScope: `\w+`", page)
                assert heading or (row and row[1]), f"{file.name}: {name}"
