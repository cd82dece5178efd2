"""What mkdocs does with the documents beside turning them into pages: links to files outside of docs/.

In the repository such a link leads to the file. On the site it leads to the repository, if ``REPOSITORY_URL`` says
where that is, and is plain text otherwise. Pictures from outside of docs/ are copied into the site.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page's text with its links out of docs/ as they work on the site."""

    def outside(match: re.Match[str]) -> str:
        picture, text, link = match.groups()
        path = (Path(config.docs_dir) / page.file.src_uri).parent / link
        if Path(os.path.normpath(path)).is_relative_to(config.docs_dir):
            return match[0]  # another page
        inside = Path(os.path.normpath(path)).relative_to(ROOT).as_posix()
        if not (ROOT / inside).exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {link}, which does not exist")
        if picture:
            if files.get_file_from_path(inside) is None:
                files.append(File.generated(config, inside, abs_src_path=str(ROOT / inside)))
            up = "../" * page.file.src_uri.count("/")
            return f"![{text}]({up}{inside})"
        if config.repo_url:
            return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{inside})"
        return text

    return _LINK.sub(outside, markdown)


def on_page_content(html: str, **kwargs: Any) -> str:
    """Return a page with what is left of Sphinx's roles in docstrings as code."""
    return re.sub(r":(?:class|func|meth|data|mod|attr):<code>~?([^<]*)</code>", r"<code>\1</code>", html)
