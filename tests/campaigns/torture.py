"""Run every campaign in full and print a line for each: `make torture`, at most 20 minutes on 2 cores.

    python tests/campaigns/torture.py [NAME ...] [--seed N] [--tries N]

A campaign is named by its function, such as random_kills. Exit code 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

# The script's own folder is not where its modules are found, but the folder of this package is.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from campaigns.table import CAMPAIGNS, run_campaigns  # noqa: E402
from nnrun.cli import ending_of  # noqa: E402
from nnrun.cli import main as nnrun_main  # noqa: E402


def main() -> dict[str, int]:
    """Run the campaigns named, or all; return how many found a promise broken."""
    names = [campaign.name for campaign in CAMPAIGNS]
    promises = "\n".join(f"  {campaign.name:22}  {campaign.promise}" for campaign in CAMPAIGNS)
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"campaigns, and what must come of each:\n{promises}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", choices=[*names, []], metavar="NAME", help="of a campaign, as listed below")
    parser.add_argument("--seed", type=int, default=0, help="what is drawn at random, 0 by default")
    parser.add_argument("--tries", type=int, help="how often each is tried, instead of as often as the table says")
    arguments = parser.parse_args()
    start, broken = time.perf_counter(), 0
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        chosen = (arguments.names, arguments.seed, arguments.tries)
        for done in run_campaigns(nnrun_main, Path(folder), *chosen):
            broken += not done.result.ok
            print(f"{done.result.line()} ({done.seconds:.0f} s)", flush=True)
    print(f"{time.perf_counter() - start:.0f} s in all; {broken} campaigns found a promise broken")
    return {"broken": broken}


if __name__ == "__main__":
    ending = ending_of(main)
    sys.exit(ending.exit_code or int((ending.reached or {}).get("broken", 0) > 0))
