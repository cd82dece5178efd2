"""Run folders of before a renaming still load."""

from pathlib import Path

import pytest

from ganzoo import load_config, load_registry
from ganzoo.config.renamed import current, current_figure

OLD = """
plugin = "torch-ganzoo/aae"
[model]
told = true
[data]
name = "torch-ganzoo/mnist5k"
[metric."torch-ganzoo/memorisation"]
samples = 20
[metric."torch-ganzoo/prdc"]
neighbours = 2
"""


def test_a_config_of_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(OLD)
    config = load_config(load_registry(), file=path)
    assert config.model.settings.model_dump()["conditional"] is True
    assert config.metrics["memorization"].settings.model_dump()["samples"] == 20
    assert config.metrics["prdc"].settings.model_dump()["neighbors"] == 2
    assert "told" not in config.to_dict()["model"]


@pytest.mark.parametrize("document", [{}, {"model": 3}, {"metric": {"fid": False}}, {"data": {"style": ["coloured"]}}])
def test_what_has_no_old_name_stays_as_it_is(document: dict[str, object]) -> None:
    assert current(document) == document


def test_values_and_figures() -> None:
    assert current({"data": {"style": "coloured"}}) == {"data": {"style": "colored"}}
    assert current({"metric": {"memorisation": False}}) == {"metric": {"memorization": False}}
    assert current_figure("memorisation/pixels/ratio") == "memorization/pixels/ratio"
    assert current_figure("images_per_second") == "samples_per_second"
    assert current_figure("generator/loss") == "generator/loss"
