"""What MkDocs calls while it builds the manual."""

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from manual import protocol, troubleshooting
from manual.pages import ROOT, outside_pages, readme_pages, with_links_of_the_site


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/ and the generated ones."""
    for path in outside_pages():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    made = readme_pages() | protocol.pages() | {"troubleshooting.md": troubleshooting.page()}
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """Rewrite links between files of the repository."""
    return with_links_of_the_site(markdown, page.file.src_uri, set(files.src_uris))
