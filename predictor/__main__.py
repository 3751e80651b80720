"""`python -m predictor` is the `predictor` command."""

import os
import sys

try:
    from predictor.cli import main

    main()
except KeyboardInterrupt:  # while the libraries are imported
    sys.stderr.write("predictor: interrupted\n")
    sys.stderr.flush()
    os._exit(130)
