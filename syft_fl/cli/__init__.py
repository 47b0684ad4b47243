"""The command line: ``syft-fl run | compare | retime | sweep | plot | trace | check | scenarios | codecs``.

Only typer is imported to show help; torch comes with the first command that needs it.
"""

from syft_fl.cli.command import app, main

__all__ = ["app", "main"]
