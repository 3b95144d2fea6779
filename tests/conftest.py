"""What all rooms' tests share."""

import os

from hypothesis import settings

pytest_plugins = ["support.seaweed"]

# A loaded machine is slow now and then, which is no fault of the code under test.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
