"""Tests of the kind of field."""

import numpy as np
from example_package.example_key import ExampleKey
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("field:example-name/example_key")


def test_what_are_no_shares_is_said() -> None:
    field = ExampleKey(2)
    assert field.fault(np.array([[0.25, 0.75]], np.float32)) == ""
    assert field.fault(np.array([[-0.5, 1.5]], np.float32)) == "a share of -0.5"
    assert field.fault(np.array([[0.25, 0.75], [0.5, 0.25]], np.float32)) == "shares of 0.75 together"
