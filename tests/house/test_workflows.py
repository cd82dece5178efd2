"""The workflows, which no test can run: they parse, ask for few rights, and name what is there."""

from __future__ import annotations

import re
import tomllib

import pytest
from conftest import ROOT

yaml = pytest.importorskip("yaml")

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))


def read(name):
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_one_and_may_do_little(path):
    workflow = read(path.name)
    assert {"name", True, "permissions", "jobs"} <= set(workflow), "YAML 1.1 reads 'on' as true"
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert {*([job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", []))} <= {*workflow["jobs"]}
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
            assert "workflow_call" in read(job["uses"].rpartition("/")[2])[True]
            continue
        assert job["timeout-minutes"] <= 90, name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v1)", step["uses"]), step
            assert "secrets." not in str(step), "releases need no stored secret"


def test_only_the_jobs_that_publish_may_sign():
    rights = {name: job.get("permissions", {}) for name, job in read("release.yml")["jobs"].items()}
    assert {name for name, may in rights.items() if may.get("id-token") == "write"} == {"build", "publish"}
    assert {name for name, may in rights.items() if may.get("contents") == "write"} == {"attach"}


def test_the_release_builds_every_distribution():
    commands = [step.get("run", "") for step in read("release.yml")["jobs"]["build"]["steps"]]
    built = {match[1] for line in commands if (match := re.search(r"--outdir dist (\S+)", line))}
    there = (ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml"))
    assert built == {path.parent.relative_to(ROOT).as_posix() for path in there}


def test_the_extras_that_are_audited_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (audited,) = re.findall(r"'\.\[(.*)\]' pip-audit", (FOLDER / "dependencies.yml").read_text())
    assert {*audited.split(",")} <= {*extras}
