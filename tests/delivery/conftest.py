from __future__ import annotations

import pytest

from tests.delivery.support import close_all


@pytest.fixture(autouse=True)
def _connections_end_with_the_test():
    yield
    close_all()
