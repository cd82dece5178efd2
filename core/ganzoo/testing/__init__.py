"""The conformance kit: the same checks for every plugin, bundled or not.

``ganzoo check NAME`` runs them from the command line, :func:`check` from a test::

    from ganzoo.testing import check

    def test_my_model():
        check("my_model")
"""

from ganzoo.testing.results import Result
from ganzoo.testing.runner import check, run_checks

__all__ = ["Result", "check", "run_checks"]
