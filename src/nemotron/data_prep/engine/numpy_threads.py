"""Import numpy without the threads of its linear algebra.

Data prep has no use for them. OpenBLAS starts one for every core when numpy is imported, and each takes 40 ms of CPU
time to fall asleep.
"""

import os
import sys

VARIABLE = "OPENBLAS_NUM_THREADS"


def import_numpy() -> None:
    """Import numpy with one thread, unless the environment says how many.

    The variable is removed again: torch and other programs that are started later read it too.
    """
    if "numpy" in sys.modules or VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = "1"
    try:
        import numpy as numpy
    finally:
        del os.environ[VARIABLE]
