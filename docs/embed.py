"""Puts files into the documents that show them; ``--check`` only says whether they are shown as they are.

A line of a document that is a link to a file and nothing else, followed by a fenced block, shows that file:

    [`l2.py`](../examples/plugins/ganzoo_examples/l2.py)

Usage: python docs/embed.py [--check]
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent

_SHOWN = re.compile(r"^(\[`[^`\n]+`\]\(([^)\n]+)\))\n\n```(\w*)\n.*?^```$", re.MULTILINE | re.DOTALL)


def shown(text: str) -> list[str]:
    """Return the paths of the files that a document shows, as it links to them."""
    return [match[2] for match in _SHOWN.finditer(text)]


def embed(document: Path) -> str:
    """Return the document's text with every file that it shows as it is now."""

    def block(match: re.Match[str]) -> str:
        content = (document.parent / match[2]).read_text(encoding="utf-8").rstrip("\n")
        return f"{match[1]}\n\n```{match[3]}\n{content}\n```"

    return _SHOWN.sub(block, document.read_text(encoding="utf-8"))


def main() -> None:
    """Embed the files in every document below this folder, or check that they are."""
    stale = []
    for document in sorted(HERE.rglob("*.md")):
        text = embed(document)
        if text != document.read_text(encoding="utf-8"):
            stale.append(document.relative_to(HERE).as_posix())
            if "--check" not in sys.argv:
                document.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"docs/{' and docs/'.join(stale)} show files as they are no longer; run: python docs/embed.py")


if __name__ == "__main__":
    main()
