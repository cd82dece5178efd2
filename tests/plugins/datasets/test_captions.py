"""Captions as data: shapes whose captions are true, folders with captions, and the metric that judges both."""

import json
import logging
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from ganzoo import Image, Label, Latent, Signature, UserError
from ganzoo.testing.samples import random_data
from ganzoo_plugins.datasets.captioned_images import CaptionedImages, CaptionedImagesConfig
from ganzoo_plugins.datasets.captioned_shapes import CaptionedShapes, CaptionedShapesConfig
from ganzoo_plugins.datasets.folder import Folder, FolderConfig
from ganzoo_plugins.metrics.caption_accuracy import CaptionAccuracy
from ganzoo_runtime.captions import caption_text, caption_tokens, words

SHAPES = CaptionedShapes(CaptionedShapesConfig(image_size=16, size=400))
HELD_OUT = {(0, 0), (0, 5), (1, 1), (2, 2), (3, 3), (4, 4)}
VALUES = {
    "a small red triangle upper left turned a little": (2, 0, 0, 0, 1),
    "a huge disk in the center": (0, -1, 1, 4, -1),
    "bottom right": (-1, -1, -1, 3, -1),
    "a figure": (-1, -1, -1, -1, -1),
    "upright pink star": (3, 5, -1, -1, 0),
}


def test_words_are_found_alike_in_all_scripts():
    assert words("It's  a RED, red-ish\tring—2!") == ["its", "a", "red", "red", "ish", "ring", "2"]
    assert words("Cafe\u0301 ÉTÉ हिन्दी") == ["café", "été", "हिन्दी"]
    assert words("... ?") == []


def test_captions_name_what_is_drawn():
    for held in (SHAPES.tensors, SHAPES.held_out(300)):
        named, measured = SHAPES.named(held["caption"]), SHAPES.measured(held["x"])
        for fact, values in named.items():
            assert (values >= 0).any()
            assert (values == -1).any() == (held is SHAPES.tensors or fact not in ("shape", "hue"))
            assert torch.equal(values[values >= 0], measured[fact][values >= 0]), fact


def test_combinations_are_held_out():
    for held, pairs in ((SHAPES.tensors, False), (SHAPES.held_out(300), True)):
        measured = SHAPES.measured(held["x"])
        found = set(zip(measured["shape"].tolist(), measured["hue"].tolist(), strict=True))
        assert found <= HELD_OUT if pairs else not found & HELD_OUT
        assert {shape for shape, _ in found} == set(range(5))
        assert {hue for _, hue in found} == set(range(6))


def test_a_larger_data_set_begins_with_the_smaller_one():
    fewer = CaptionedShapes(CaptionedShapesConfig(image_size=16, size=30))
    for name, values in fewer.tensors.items():
        assert torch.equal(values, SHAPES.tensors[name][:30])


def test_what_a_caption_names():
    field = SHAPES.spec["caption"].to_json()
    tokens = torch.tensor([caption_tokens(text, field) for text in VALUES])
    assert [caption_text(row, field) for row in tokens.tolist()] == list(VALUES)
    named = SHAPES.named(tokens)
    assert list(named) == ["shape", "hue", "size", "place", "turn"]
    assert torch.stack(list(named.values()), 1).tolist() == [list(each) for each in VALUES.values()]


class Painter:
    """Draws the images that were made for the held-out captions, half of them of another one, and else ``others``."""

    def __init__(self, others):
        self.others = others
        self.metadata = {"signature": Signature((Latent((2,)), SHAPES.spec["caption"]), Image(3, 16, 16)).to_json()}

    def sample(self, n, *, seed, text):
        held = SHAPES.held_out(n)
        field = SHAPES.spec["caption"].to_json()
        if text != [caption_text(row, field) for row in held["caption"].tolist()]:
            assert all(len({*text[first : first + 64]}) == 1 for first in range(0, n, 64))
            return (self.others.repeat(n // len(self.others), 1, 1, 1).float() / 127.5 - 1).numpy()
        images = held["x"].clone()
        images[n // 2 :] = 26  # nothing but background
        return (images.float() / 127.5 - 1).numpy()


def test_the_metric_judges_seen_and_held_out_combinations_apart():
    metric = CaptionAccuracy(CaptionAccuracy.Config(samples=200), SHAPES)
    real = dict(metric.reference())
    assert real.pop("left_out/values") > 2
    assert set(real.values()) == {1.0}
    assert set(real) == {
        f"{of}/{fact}" for of in ("seen", "held_out") for fact in ("all", *SHAPES.named(torch.ones(1, 12)))
    }
    images, captions = SHAPES.tensors["x"][:200].float(), SHAPES.tensors["caption"][:200]
    assert set(metric(images, {"caption": captions}).values()) == {1.0}
    swapped = metric(images, {"caption": captions.roll(1, 0)})
    assert swapped["seen/hue"] < 0.5
    measured = torch.stack(list(SHAPES.measured(SHAPES.tensors["x"]).values()), 1)
    differs = (measured != measured[0]).all(1) & (measured >= 0).all(1)
    assert measured[0].min() >= 0, "the first shape is not round"
    two = SHAPES.tensors["x"][[0, int(differs.nonzero()[0])]]
    assert metric.probe(Painter(two[:1]), 0)["left_out/values"] == pytest.approx(1)
    held = metric.probe(Painter(two), 0)
    assert held["left_out/values"] == pytest.approx(2)
    assert held["held_out/shape"] == held["held_out/hue"] == 0.5
    with pytest.raises(UserError, match="does not say which facts"):
        CaptionAccuracy(CaptionAccuracy.Config(), random_data(Image(3, 16, 16, range=(0, 255)), Label(3)))
    with pytest.raises(UserError, match="drawn for captions"):
        metric.check(Signature((Latent((2,)), Label(3)), Image(3, 16, 16)))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for index, name in enumerate(("a.png", "b.png", "in/c.png")):
        Pillow.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / name)
    return tmp_path


def load(path, **settings):
    return CaptionedImages(CaptionedImagesConfig(path=path, **settings))


def texts(dataset):
    batch = dataset.batch(torch.arange(len(dataset)), torch.Generator().manual_seed(0))
    assert batch["x"][:, 0, 0, 0].tolist() == list(range(len(dataset)))
    field = dataset.spec["caption"].to_json()
    return [caption_text(row, field) for row in batch["caption"].tolist()]


EXPECTED = ["a red dog", "the dog", "cat"]


def test_captions_beside_the_images(folder):
    for name, text in (("a", "A red dog."), ("b", "The dog!\n"), ("in/c", "\ufeffcat")):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    dataset = load(folder)
    assert texts(dataset) == EXPECTED
    assert dataset.spec["caption"].tokens == ("", " a", " cat", " dog", " red", " the")
    assert dataset.rows is not None
    (folder / "a.txt").write_text("A red dog.\n\nthe dog\n", encoding="utf-8")
    dataset = load(folder, memory=0)
    assert dataset.rows is None
    found = {texts(dataset)[0]} | {
        caption_text(row, dataset.spec["caption"].to_json())
        for row in dataset.batch(torch.zeros(20).long(), torch.Generator())["caption"].tolist()
    }
    assert found == {"a red dog", "the dog"}
    (folder / "b.txt").write_text(" \n")
    with pytest.raises(UserError, match=r"has no caption for b\.png; write one, or take the image away$"):
        load(folder)
    (folder / "b.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"b\.txt"):
        load(folder)


def test_captions_in_a_table(folder):
    names = ("a.png", "b.png", "in/c.png")
    rows = [{"file_name": name, "text": text, "n": 1} for name, text in zip(names, EXPECTED, strict=True)]
    lines = [f"{name},{text}\n" for name, text in zip(names, EXPECTED, strict=True)]
    (folder / "metadata.csv").write_text("".join(["file_name,text\n", *lines]))
    assert texts(load(folder)) == EXPECTED
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert texts(load(folder)) == EXPECTED
    (folder / "other.jsonl").write_text("\n".join(json.dumps({"file_name": n, "about": ["x", "y"]}) for n in names))
    dataset = load(folder, captions="other.jsonl", column="about")
    assert dataset.rows is None
    assert set(texts(dataset)) <= {"x", "y"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "", "names the columns nothing, and not 'file_name' and 'text'"),
        ("m.csv", "text\na\n", "names the columns text"),
        ("m.csv", "file_name,text\na.png\n", "line 2 of .* has 1 column, the first line 2"),
        ("m.csv", "file_name,text\na.png,dog\n", r"has no caption for b\.png and 1 more images"),
        ("m.csv", "file_name,text\na.png,!\nb.png,=\nin/c.png,-\n", r"has no caption for a\.png and 2 more images"),
        ("m.csv", "file_name,text,text\na.png,dog,cat\n", "not 'file_name' and 'text' once"),
        ("m.jsonl", '\n{"file_name": "a.png"}', "line 2 of .* has no file_name and 'text' that are texts"),
        ("m.jsonl", '{"file_name": 3, "text": "a"}', "line 1"),
        ("m.jsonl", '{"file_name": "a.png", "text": "a', "line 1 of .* is not JSON"),
        ("m.jsonl", '["a.png", "a"]', "line 1 of .* is no JSON object"),
        ("m.jsonl", '{"file_name": "a.png", "text": "gr\udcfcn"}', "line 1 of .* is not UTF-8 text"),
        ("m.jsonl", '{"file_name": "a.png", "text": "' + 11000 * "a dog " + '"}', "line 1 of .* has more than 65,536"),
        ("m.jsonl", "", r"has no caption for a\.png"),
        ("m.txt", "", r"a \.jsonl or a \.csv"),
        ("../m.csv", "", "is not in"),
        ("none.csv", None, "none.csv"),
    ],
)
def test_tables_that_are_refused(folder, name, content, message):
    if content is not None:
        (folder / name).write_text(content, errors="surrogateescape")
    with pytest.raises(UserError, match=message):
        load(folder, captions=name)


def test_what_editors_and_other_folders_leave_in_tables(folder, caplog):
    names = ("a.png", "b.png", "in/c.png", "../secret.png", "gone.png")
    lines = [json.dumps({"file_name": name, "text": ["cat", "?!"]}) for name in names]
    (folder / "metadata.jsonl").write_text("\ufeff" + "\n\n".join(lines) + "\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "ganzoo"):
        assert texts(load(folder)) == ["cat"] * 3  # punctuation is no caption
    assert "2 of 5 images that" in caplog.text
    assert "such as ../secret.png; they are left out" in caplog.text


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_of_file_names_may_be_characters_of_their_own(folder, caplog, on_disk, written):
    on_disk, written = (unicodedata.normalize(form, "in/d\u00e9.png") for form in (on_disk, written))
    (folder / "in/c.png").rename(folder / on_disk)
    names = ("a.png", "b.png", written)
    for name, text in zip(names, EXPECTED, strict=True):
        (folder / name).with_suffix(".txt").write_text(text)
    assert texts(load(folder)) == EXPECTED
    lines = [f"{name},{text}\n" for name, text in zip(names, EXPECTED, strict=True)]
    (folder / "metadata.csv").write_text("".join(["file_name,text\n", *lines]), encoding="utf-8")
    assert texts(load(folder)) == EXPECTED
    numbers = [f"{name},{index}\n" for index, name in enumerate(names)]
    (folder / "numbers.csv").write_text("".join(["file,x\n", *numbers]), encoding="utf-8")
    assert Folder(FolderConfig(path=folder, attributes="numbers.csv")).known["y"].tolist() == [[0], [1], [2]]
    assert not caplog.records


def test_rare_and_surplus_words_are_counted_and_said(folder, caplog):
    for name, text in (("a", "a a a red dog"), ("b", "a red dog"), ("in/c", "a zebra")):
        (folder / f"{name}.txt").write_text(text)
    with caplog.at_level(logging.WARNING, "ganzoo"):
        dataset = load(folder, vocabulary=3, length=4)
    assert texts(dataset) == ["a a a red", "a red dog", "a"]
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("left out: 1 word, 10.0 % of the captions")
    assert "'zebra'" in said[0]
    assert said[1].startswith("cut after 4 words: 1 caption in")
    assert np.array(dataset.spec["caption"].examples).shape == (3, 4)


def test_captions_of_rare_words_alone_are_counted(folder, caplog):
    for name, text in (("a", "a dog"), ("b", "a cat"), ("in/c", "zebra")):
        (folder / f"{name}.txt").write_text(text)
    with caplog.at_level(logging.WARNING, "ganzoo"):
        assert texts(load(folder, vocabulary=1)) == ["a", "a", ""]
    assert f"so that nothing is said: 1 caption in {folder}" in caplog.text
