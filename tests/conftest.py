import pytest
from hypothesis import HealthCheck, settings

# A busy machine is not a failing test.
settings.register_profile("azr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("azr")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
