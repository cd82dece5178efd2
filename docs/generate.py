"""Writes docs/hooks.md and docs/commands.md from the code; ``--check`` only says whether they are what it would write.

Usage: python docs/generate.py [--check]
"""

import inspect
import subprocess
import sys
from pathlib import Path

from ganzoo import HOOK_API, Spec
from ganzoo.plugin.hooks import Hooks
from ganzoo.plugin.spec import KINDS

HERE = Path(__file__).parent


def hooks() -> str:
    """Return the hook reference: every hook's signature and docstring."""
    lines = [
        "# Hooks",
        "",
        "<!-- Written by docs/generate.py from core/ganzoo/hooks.py. -->",
        "",
        f"This is `HOOK_API` {HOOK_API}. An implementation is a function of the same name in a plugin's module, marked",
        "`@ganzoo.hookimpl`; it may leave out arguments that it does not need.",
        "[Write a plugin](write-a-plugin.md) shows one in use.",
        "",
        "## `Spec`",
        "",
        inspect.getdoc(Spec) or "",
        "",
        f"Kinds: {', '.join(f'`{kind}`' for kind in KINDS)}.",
    ]
    for name, hook in vars(Hooks).items():
        if name.startswith("ganzoo_"):
            signature = inspect.signature(hook)
            shown = signature.replace(parameters=list(signature.parameters.values())[1:])
            lines += ["", f"## `{name}`", "", "```python", f"def {name}{shown}", "```", "", inspect.getdoc(hook) or ""]
    return "\n".join(lines).replace(":class:`~", "`").replace(":class:`", "`") + "\n"


def commands() -> str:
    """Return the command reference, as typer documents it."""
    run = [sys.executable, "-m", "typer", "ganzoo.cli", "utils", "docs", "--name", "ganzoo", "--title", "Commands"]
    text = subprocess.run(run, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def main() -> None:
    """Write both files, or check them."""
    stale = []
    for path, text in ((HERE / "hooks.md", hooks()), (HERE / "commands.md", commands())):
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"docs/{' and docs/'.join(stale)} are stale; run: python docs/generate.py")


if __name__ == "__main__":
    main()
