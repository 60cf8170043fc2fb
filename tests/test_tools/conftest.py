"""What the tests of the command lines share."""

import pytest


@pytest.fixture(autouse=True)
def _alone(alone):
    """No launcher has started what any of these tests runs."""
