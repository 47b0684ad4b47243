"""``python -m syft_fl`` is the ``syft-fl`` command."""

from syft_fl.cli import main

main()
