"""Two organizations' logs of 300 events."""

import pytest

from tests.audit.logs import GLOBEX, Log


@pytest.fixture
def acme() -> Log:
    return Log().append(300)


@pytest.fixture
def globex() -> Log:
    return Log(GLOBEX).append(300)
