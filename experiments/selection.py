"""Whom to ask: selections of the cohort on digits, where near UEs are fast and far ones hold other classes.

Runs selection.toml; takes the options of ``syft-fl compare`` and ``key.path=value`` overrides. Beside the usual figures
there is one of who was heard how often, by distance.
"""

import sys
from pathlib import Path

from syft_fl.cli import main
from syft_fl.experiment import Comparison
from syft_fl.plots import participation, save

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--out" not in arguments:
        arguments += ["--out", "results/selection"]
    try:
        main(["compare", str(Path(__file__).with_suffix(".toml")), *arguments])
    except SystemExit as ended:  # the command line ends the process, also when all went well
        if ended.code:
            raise
    folder = Path(arguments[arguments.index("--out") + 1])
    figure = participation(Comparison.load(folder).results)
    print(f"participation: {save(figure, folder / 'figures', 'participation')[0]}")
