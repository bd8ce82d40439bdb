"""What every test here stands on: asyncio, small examples by default, and no silent skip where none is allowed."""

import pytest
from hypothesis import HealthCheck, settings

from tests.no_skip import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

# Deadlines of single examples measure the machine, not the code. `make test-long` picks `long` by its flag.
settings.register_profile("default", max_examples=25, stateful_step_count=20, deadline=None)
settings.register_profile(
    "long", max_examples=500, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asyncio alone: the server runs on nothing else."""
    return "asyncio"


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    """How often a race is repeated: 5 times in `make test`, 20 in `make test-long`."""
    return 20 if pytestconfig.getoption("--hypothesis-profile") == "long" else 5
