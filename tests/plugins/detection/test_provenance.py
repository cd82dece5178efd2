"""Image files that say where they come from, through the commands: sample, translate, verify, sign."""

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from ganzoo import write_animation
from ganzoo.images.animation import save_progress
from ganzoo.images.marking import read_claims, save_image
from ganzoo_runtime import provenance

MODEL = "zoo:dcgan-mnist5k"
CLAIMS = provenance({"model": {"key": "dcgan"}}, 5)


def test_what_is_drawn_says_so(cli: Command, tmp_path: Path) -> None:
    for out in ("a.png", "b.png", "folder"):
        assert cli("sample", MODEL, "-n", 2, "--seed", 5, "--out", out).code == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    cli("interpolate", MODEL, "--keys", "0,1", "--steps", 2, "--out", "way.gif")
    cli("edit", MODEL, "--direction", "z.0=1", "-n", 2, "--out", "edited.png")
    files = ["a.png", "folder/000001.png", "way.gif", "edited.png"]
    found = cli("verify", "--json", *files)
    assert found.code == 0
    records = json.loads(found.out)
    assert [record["file"] for record in records] == files
    for record, seed in zip(records, "5500", strict=True):
        assert record["found"]
        assert record["claims"]["source_type"].endswith("/trainedAlgorithmicMedia")
        about = {"model": "dcgan", "data": "mnist5k", "seed": seed, "license": "Apache-2.0"}
        assert about.items() <= record["claims"].items()
    assert "model dcgan" in cli("verify", "a.png").out


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_translations_say_so(cli: Command, suffix: str) -> None:
    Pillow.fromarray(np.zeros((28, 28, 3), np.uint8)).save("in.png")
    Pillow.fromarray(np.eye(28, dtype=np.uint8) * 255).save("mask.png")
    assert cli("translate", "zoo:inpaint-mnist5k", "in.png", f"out.{suffix}", "--mask", "mask.png").code == 0
    outcome = cli("verify", f"out.{suffix}")
    assert outcome.code == 0
    assert "compositeWithTrainedAlgorithmicMedia" in outcome.out
    with Pillow.open(f"out.{suffix}") as opened:
        assert opened.size == (28, 28)


def test_animations_and_training_grids_say_so(tmp_path: Path) -> None:
    frames = [np.full((6, 5, channels), value, np.uint8) for channels in (1, 3) for value in (0, 200)]
    for colors in (frames[:2], frames[2:]):
        write_animation(tmp_path / "a.gif", colors, claims=CLAIMS)
        with Pillow.open(tmp_path / "a.gif") as opened:
            assert (opened.n_frames, opened.info["loop"]) == (2, 0)
            opened.seek(1)
            assert np.asarray(opened.convert("L"))[0, 0] == 200
        assert read_claims(tmp_path / "a.gif") == CLAIMS
    save_image(tmp_path / "grid.png", Pillow.fromarray(frames[2]), "PNG", CLAIMS)
    save_progress(tmp_path / "progress.gif", [tmp_path / "grid.png"])
    assert read_claims(tmp_path / "progress.gif") == CLAIMS
    write_animation(tmp_path / "plain.gif", frames[:2])
    assert read_claims(tmp_path / "plain.gif") == {}


def test_grids_of_a_training_say_so(trained: dict[str, Path]) -> None:
    grid = next((trained["digits"] / "samples").glob("*.png"))
    assert {"model": "wgan_gp_conv", "data": "digits"}.items() <= read_claims(grid).items()
    assert read_claims(trained["digits"] / "progress.gif")["model"] == "wgan_gp_conv"


def test_models_say_what_they_are(cli: Command, trained: dict[str, Path]) -> None:
    run = trained["digits"]
    records = json.loads(cli("verify", run, run / "generator.onnx", "--json").out)
    (shared,) = json.loads(cli("verify", "zoo:cgan-mnist5k", "--json").out)
    assert (shared["found"], shared["claims"]["model"]) == (True, "cgan")
    assert [record["claims"]["model"] for record in records] == ["wgan_gp_conv"] * 2
    assert len(records[1]["sha256"]) == 64


def test_other_files_are_told_apart(cli: Command) -> None:
    Pillow.new("RGB", (4, 4)).save("plain.png")
    assert (cli("verify", "plain.png").code, "says nothing" in cli("verify", "plain.png").out) == (1, True)
    Pillow.new("RGB", (4, 4)).save("plain.bmp")
    assert cli("verify", "plain.bmp").code == 1
    save_image("camera.jpg", Pillow.new("RGB", (4, 4)), "JPEG", {"source_type": "http://x/digitalCapture"})
    found = cli("verify", "camera.jpg")
    assert (found.code, "only http://x/digitalCapture" in found.out) == (1, True)
    Path("text.png").write_text("no image")
    cli("verify", "text.png").refused("text.png", "damaged")
    cli("verify", "none.png").refused("none.png")
    for wrong in ("/dev/zero", "text.png"):
        found = cli("verify", "plain.png", wrong, "camera.jpg")
        assert (found.code, found.out) == (2, cli("verify", "plain.png").out), "what is said of those before stays"
        found.sentence(wrong)
        cli("verify", "--json", "plain.png", wrong).refused(wrong)


def test_hostile_images_end_in_a_sentence(cli: Command) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>')
    Pillow.new("L", (4, 4)).save("bomb.png", pnginfo=info)
    cli("verify", "bomb.png").refused("bomb.png", "document type")
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)  # a few kB in the file
    Pillow.new("L", (4, 4)).save("inflated.png", pnginfo=info)
    assert Path("inflated.png").stat().st_size < 10_000
    assert cli("verify", "inflated.png").code in (1, 2)
    content = io.BytesIO()
    Pillow.new("L", (4, 4)).save(content, "GIF")
    Path("cut.gif").write_bytes(content.getvalue()[:13] + b"\x21\xff\x0bXMP DataXMP<unfinished")
    cli("verify", "cut.gif").refused("cut.gif")


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of a test authority with its chain, and its key."""
    pytest.importorskip("c2pa")
    script = """
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -days 30 -subj '/O=Test/CN=CA' -addext keyUsage=critical,keyCertSign -out ca.pem
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out leaf.key
    openssl req -new -key leaf.key -subj '/O=Test Signer/CN=Leaf' -out leaf.csr
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\n\
subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' > ext
    openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out leaf.pem
    cat leaf.pem ca.pem > chain.pem
    """
    try:
        subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl that makes certificates")
    return tmp_path / "chain.pem", tmp_path / "leaf.key"


def test_signatures(cli: Command, chain: tuple[Path, Path]) -> None:
    certificate, key = chain
    for name, form in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.webp", "WEBP")):
        save_image(name, Pillow.new("RGB", (16, 16)), form, CLAIMS)
        assert cli("sign", name, "--certificate", certificate, "--key", key).code == 0
        (record,) = json.loads(cli("verify", "--json", name).out)
        assert (record["found"], record["signature"]["by"]) == (True, "Test Signer")
        assert record["signature"]["problems"] == ["signingCredential.untrusted"]  # nobody knows a test's authority
    before, other = Path("a.png").read_bytes(), Path("a.jpg").read_bytes()
    assert other.count(b"ganzoo:seed>5<") == 1
    Path("b.jpg").write_bytes(other.replace(b"ganzoo:seed>5<", b"ganzoo:seed>6<"))
    (record,) = json.loads(cli("verify", "--json", "b.jpg").out)
    assert record["claims"]["seed"] == "6"
    assert "assertion.dataHash.mismatch" in record["signature"]["problems"]
    cli("sign", "a.png", "--certificate", key, "--key", key).refused("cannot be signed")
    Pillow.new("RGB", (16, 16)).save("plain.png")
    cli("sign", "plain.png", "--certificate", certificate, "--key", key).refused("does not say")
    cli("sign", "a.png", "--certificate", certificate, "--key", key, "--out", "a.jpg").refused("stays it")
    assert Path("a.png").read_bytes() == before
