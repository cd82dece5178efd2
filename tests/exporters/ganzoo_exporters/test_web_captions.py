"""Captions on the web page: the same words and tokens as in Python."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ganzoo import Tokens
from ganzoo_exporters import web
from ganzoo_runtime.captions import caption_text, caption_tokens, words

SCRIPT = """
import { captionText, captionTokens, conditions, isCaption, words } from "URL/generator.js";
const [texts, field, known] = JSON.parse(process.argv[1]);
const tokens = captionTokens(known, field);
let refused = [];
for (const text of ["a dog", "", "a a a a a"]) {
  try { captionTokens(text, field) } catch (error) { refused.push(error.message) }
}
const turns = [0, 1, 2].map((i) => conditions([field], i).y);
console.log(JSON.stringify([texts.map(words), tokens, captionText(tokens, field), isCaption(field), refused, turns]));
"""
TEXTS = [
    "It's a RED, red-ish ring\u20142!",
    "Cafe\u0301 ÉTÉ",
    "हिन्दी",
    "İSTANBUL",
    "ΣΟΦΟΣ",
    "under_score",
    "",
    "日本語 123",
]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_javascript_finds_the_same_words() -> None:
    field = Tokens(4, 4, ("", " a", " red", " ring"), "y", examples=((1, 2, 0, 0), (1, 3, 0, 0))).to_json()
    script = SCRIPT.replace("URL", Path(web.__file__).parent.as_uri())
    command = ["node", "--input-type=module", "-e", script, "--", json.dumps([TEXTS, field, "A red RING"])]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    found, tokens, text, caption, refused, turns = json.loads(done.stdout)
    assert found == [words(each) for each in TEXTS]
    assert tokens == caption_tokens("A red RING", field)
    assert text == caption_text(tokens, field) == "a red ring"
    assert caption
    assert [each.split(".")[0] for each in refused] == [
        "The model does not know dog",
        "A text has from 1 to 4 words for this model; this one has 0",
        "A text has from 1 to 4 words for this model; this one has 5",
    ]
    assert turns == [[1, 2, 0, 0], [1, 3, 0, 0], [1, 2, 0, 0]]
