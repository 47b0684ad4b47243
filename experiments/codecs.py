"""Which codec wins at equal bits, which at equal error, on MNIST? Runs codecs.toml and draws each group of variants.

Takes the options of ``syft-fl compare`` and ``key.path=value`` overrides. Beside the figures of all variants there are,
for each group, accuracy against simulated time, time to the target, and why: rounds needed, and seconds a round.
"""

import sys
from dataclasses import replace
from pathlib import Path

from syft_fl.cli import main
from syft_fl.experiment import Comparison
from syft_fl.plots import accuracy_against, rounds_and_seconds, save, time_to_target

GROUPS = ("1bit", "err10", "both")


def draw_groups(folder: Path) -> None:
    """Figures of each group beside float32, from the folder's files alone."""
    comparison = Comparison.load(folder)
    for group in GROUPS:
        members = tuple(
            r for r in comparison.results if r.name == "float32" or r.name.startswith(f"{group}-")
        )
        part = replace(comparison, results=members)
        save(accuracy_against(members, target=part.target_accuracy), folder / "figures", f"{group}-accuracy")
        save(time_to_target(part), folder / "figures", f"{group}-time-to-target")
        save(rounds_and_seconds(part), folder / "figures", f"{group}-why")
    print(f"groups: {folder / 'figures'}/{{{','.join(GROUPS)}}}-{{accuracy,time-to-target,why}}.png")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--out" not in arguments:
        arguments += ["--out", "results/codecs"]
    try:
        main(["compare", str(Path(__file__).with_suffix(".toml")), *arguments])
    except SystemExit as ended:  # the command line ends the process, also when all went well
        if ended.code:
            raise
    draw_groups(Path(arguments[arguments.index("--out") + 1]))
