"""The pages of the manual that lie outside docs/, and how links between them are written.

A page keeps its path in the repository, without docs/, so that a relative link works on the site as
it does in the repository. The README is the exception: it is the first page and, from its section
Settings on, a page of its own.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_OUTSIDE = (
    *("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("deploy/models/LICENSE-WEIGHTS.md", "examples/README.md", "examples/grpcurl.md"),
    *("report/*.md", "report/*.png"),
)
_MOVED = {
    "README.md": "index.md",
    "README.md#settings": "settings.md",
    "protos/compactface/v1": "protocol/index.md",
    "manual/reasons.toml": "troubleshooting.md",
}
_LINK = re.compile(r"\[([^\[\]]*)\]\((?!\w+:|#)([^)\s]+)\)")
_SETTINGS = "\n## Settings\n"


def outside_pages() -> Iterator[str]:
    """Paths in the repository of the files outside docs/ that belong to the manual."""
    for pattern in _OUTSIDE:
        yield from sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))


def readme_pages() -> dict[str, str]:
    """The two parts of the README, by path on the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    overview, settings = text.split(_SETTINGS)
    return {"index.md": overview, "settings.md": f"# Settings\n{settings}"}


def with_links_of_the_site(markdown: str, page: str, site: set[str]) -> str:
    """Write links between files of the repository as links between pages.

    A link to a file that is no page, such as source code, becomes its text. A link to nothing is
    left as it is, for MkDocs to report.

    Args:
        markdown: text of the page.
        page: path of the page on the site.
        site: paths of all files on the site.
    """
    here = posixpath.dirname(_in_repository(page))

    def rewritten(link: re.Match[str]) -> str:
        text, target = link.groups()
        file, hash_, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(here, file))
        if path + hash_ + anchor in _MOVED:
            place, hash_, anchor = _MOVED[path + hash_ + anchor], "", ""
        else:
            place = _MOVED.get(path, path.removeprefix("docs/"))
        if place in site:
            found = posixpath.relpath(place, posixpath.dirname(page) or ".")
            return f"[{text}]({found}{hash_}{anchor})"
        return text if (ROOT / path).exists() else link[0]

    return _LINK.sub(rewritten, markdown)


def _in_repository(page: str) -> str:
    """Path in the repository of a page of the site."""
    if page in {"index.md", "settings.md"}:
        return "README.md"
    return page if (ROOT / page).exists() else f"docs/{page}"
