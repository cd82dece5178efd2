"""Latents of a truncated normal distribution, against SciPy's quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ganzoo_runtime import truncated_normal


@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0, 4.0])
def test_numbers_keep_their_quantile(threshold: float) -> None:
    z = np.random.default_rng(0).standard_normal((500, 40), dtype=np.float32)
    kept = z.copy()
    found = truncated_normal(z, threshold)
    expected = stats.truncnorm(-threshold, threshold).ppf(stats.norm.cdf(z.astype(np.float64)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6 * max(threshold, 1))
    assert np.abs(found).max() <= threshold
    assert np.array_equal(z, kept)
    assert np.array_equal(truncated_normal(z[3:5], threshold), found[3:5]), "whatever else is drawn"


def test_a_far_threshold_changes_nothing_and_none_is_refused() -> None:
    z = np.linspace(-6, 6, 100, dtype=np.float32)
    np.testing.assert_allclose(truncated_normal(z, 30), z, atol=1e-4)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="threshold is above 0"):
            truncated_normal(z, wrong)
