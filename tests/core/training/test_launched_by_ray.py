"""Ray Train as a launcher; needs Ray, which is an extra."""

import os
import subprocess
import sys

import pytest
import torch
from test_processes_that_end import QUIETLY, TRAIN, weights
from test_several_processes import ends, together


@pytest.mark.slow
def test_two_workers_of_ray_are_two_of_torchrun(tmp_path):
    pytest.importorskip("ray.train")
    command = (*TRAIN, *QUIETLY, "--steps", "10")
    codes, said = ends(together("-m", "ganzoo", *command, "--out", str(tmp_path / "plain")))
    assert codes == [0, 0], said
    ray = [sys.executable, "-m", "ganzoo", *command, "--out", str(tmp_path / "ray"), "--processes", "2"]
    clean = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*ray, "--launcher", "ray"], capture_output=True, text=True, env={**os.environ, **clean}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (name, expected), (other, found) = weights(tmp_path / "plain"), weights(tmp_path / "ray")
    assert name == other == "step-000010"
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    wrong = subprocess.run(
        [*ray, "--launcher", "ray", "--set", "batch_size=9"],
        capture_output=True,
        text=True,
        env={**os.environ, **clean},
        cwd=tmp_path,
    )
    assert wrong.returncode == 2
    assert "2 processes share a batch in equal parts" in wrong.stderr
