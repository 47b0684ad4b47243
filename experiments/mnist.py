"""Compare transmission methods on MNIST with the document's CNN.

The same as ``syft-fl compare experiments/mnist.toml``; takes the same options and ``key.path=value`` overrides.
"""

import sys
from pathlib import Path

from syft_fl.cli import main

if __name__ == "__main__":
    main(["compare", str(Path(__file__).with_suffix(".toml")), *sys.argv[1:]])
