"""What mkdocs does with the notebooks: each becomes a page with its text, its code, and what that showed when executed.

A link to a notebook leads to its page.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and the pictures on it."""
    for file in [each for each in files if each.src_uri.endswith(".ipynb")]:
        page, pictures = _page(json.loads(Path(str(file.abs_src_path)).read_text(encoding="utf-8")))
        name = file.src_uri.removesuffix(".ipynb")
        for number, picture in enumerate(pictures):
            files.append(File.generated(config, f"{name}/{number}.png", content=picture))
        page = re.sub(r"\]\((\d+\.png)\)", rf"]({name.rpartition('/')[2]}/\1)", page)
        files.append(File.generated(config, f"{name}.md", content=page))
    return files


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Return a page's text with links to notebooks as links to their pages."""
    return re.sub(r"(\]\([^)\s:]+)\.ipynb\)", r"\1.md)", markdown)


def _page(notebook: dict[str, Any]) -> tuple[str, list[bytes]]:
    """Return a notebook as Markdown, and its pictures, which the text has as ``0.png`` and on."""
    parts, pictures = list[str](), list[bytes]()
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![What the code shows]({len(pictures)}.png)")
                pictures.append(base64.b64decode("".join(data["image/png"])))
            else:
                text = "".join(output.get("text") or data.get("text/plain", ""))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures
