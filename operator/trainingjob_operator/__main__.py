"""Start-up: ``python -m trainingjob_operator``."""

import sys

from trainingjob_operator.main import main

if __name__ == "__main__":
    sys.exit(main())
