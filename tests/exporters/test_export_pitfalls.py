"""docs/export-pitfalls.md is right: what it says is refused is refused in these words, and the rest is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT

from ganzoo import GanzooError, Generator
from ganzoo_exporters.export import export

PREAMBLE, *NETWORKS = re.findall(
    r"^```python\n(.*?)^```$",
    (ROOT / "docs" / "export-pitfalls.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
NAMES = [re.findall(r"^class (\w+)", block, re.MULTILINE)[0] for block in NETWORKS]


@pytest.mark.parametrize("block", NETWORKS, ids=NAMES)
def test_networks_are_exported_or_refused_as_the_page_says(block: str, tmp_path: Path) -> None:
    names: dict[str, type[Generator]] = {}
    exec(PREAMBLE + block, names)
    network = names[re.findall(r"^class (\w+)", block, re.MULTILINE)[0]]().eval()
    file = tmp_path / "generator.onnx"
    if refusal := re.match(r"# refused: (.*)", block):
        with pytest.raises(GanzooError, match=re.escape(refusal[1])):
            export(network, file, {})
        assert not file.exists()
    else:
        export(network, file, {})
        assert file.is_file()


def test_what_is_refused_has_a_form_that_is_not() -> None:
    refused = [block.startswith("# refused") for block in NETWORKS]
    assert 6 <= sum(refused) <= len(refused) / 2
