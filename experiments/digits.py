"""Compare transmission methods on handwritten digits, without downloading anything.

The same as ``syft-fl compare experiments/digits.toml``; takes the same options and ``key.path=value`` overrides.
"""

import sys
from pathlib import Path

from syft_fl.cli import main

if __name__ == "__main__":
    main(["compare", str(Path(__file__).with_suffix(".toml")), *sys.argv[1:]])
