"""What all tests share."""

import os

from hypothesis import settings

pytest_plugins = ["support.seaweed"]

# Numpy is not loaded yet: the threads of one test would only fight with those of the others.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A loaded machine is slow now and then, which is no fault of the code under test.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
