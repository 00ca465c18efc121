import pytest

from azr.evals.problems import Suite, held_out_suite


@pytest.fixture(scope="session")
def suite() -> Suite:
    return held_out_suite()
