"""Compared with KEDA, on the same cluster in the same run.

    ./dev bench keda [PART]... [--small] [--rounds 4] [--more 26] [--output target/keda.json]

Parts, all of them without a name:

  reaction   from a backlog to twenty empty pods and back (`reaction.py`)
  backlog    Python rq workers: a backlog at one moment (`work.py`)
  waves      Python rq workers: an uneven load for some minutes (`work.py`)
  drain      jobs killed by scale-in, pods having longer to go than a job takes (`harm.py`)
  protect    jobs killed by scale-in, pods having shorter to go than a job takes (`harm.py`)

Contenders:

  jobqueue   an operator beside the cluster, as it comes
  tuned      KEDA's ScaledObject with pollingInterval 1 and cooldownPeriod 5
  defaults   KEDA's ScaledObject as it comes (pollingInterval 30, cooldownPeriod 300)
  ours-...   of `backlog` and `waves`: ours with different targets (`work.py`)
  keda-...   of `backlog` and `waves`: tuned KEDA with different lengths

KEDA must be installed (`./dev bench keda-install` does so on our own node; its operator and its metrics server,
webhooks are not needed) and reach this machine, where Redis runs. Times are from the moment before something is
pushed, as watches of Deployments and pods and the jobs themselves tell them. Nothing is asserted.
"""

import argparse
import json
import os
import statistics
from pathlib import Path

from e2e.harness import ROOT

from . import harm, reaction, work
from .session import Session

PARTS = {
    "reaction": (reaction.run, reaction.ROWS),
    "backlog": (work.backlog, work.BACKLOG_ROWS),
    "waves": (work.waves, work.WAVES_ROWS),
    "drain": (lambda session, args: harm.run(session, args, "drain"), harm.ROWS),
    "protect": (lambda session, args: harm.run(session, args, "protect"), harm.ROWS),
}
SMALL = {"rounds": 1, "more": 0, "defaults": 0, "backlogs": 1, "jobs": 60, "waves": 1, "uneven": 1, "scale_ins": 20}


def summary(rounds):
    """Of what every round has."""
    fields = {field: sorted(each[field] for each in rounds) for field in rounds[0]}
    return {
        field: {"median": statistics.median(values), "worst": values[-1], "rounds": len(values)}
        for field, values in fields.items()
    }


def table(part, result):
    found = {name: summary(rounds) for name, rounds in result["rounds"].items()}
    yield f"{part + ': median (worst)':32}" + "".join(f"{name:>20}" for name in found)
    for field, title in PARTS[part][1].items():
        cells = [each.get(field) for each in found.values()]
        yield f"{title:32}" + "".join(
            f"{cell['median']:10.2f} ({cell['worst']:7.2f})".rjust(20) if cell else f"{'-':>20}" for cell in cells
        )
    yield f"{'rounds':32}" + "".join(f"{len(each):>20}" for each in result["rounds"].values())
    yield from (f"{what}: {value}" for what, value in result.items() if what != "rounds")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--rounds", type=int, default=4, help="of `reaction`, of jobqueue and of tuned KEDA (%(default)s)"
    )
    parser.add_argument(
        "--more",
        type=int,
        default=26,
        help="of `reaction`, further rounds of jobqueue alone, for its tail (%(default)s)",
    )
    parser.add_argument(
        "--defaults", type=int, default=1, help="rounds of KEDA with its defaults; 0: none (%(default)s)"
    )
    parser.add_argument("--backlogs", type=int, default=2, help="rounds of `backlog` (%(default)s)")
    parser.add_argument("--jobs", type=int, default=300, help="of a backlog (%(default)s)")
    parser.add_argument("--waves", type=int, default=6, help="of `waves`, forty seconds each (%(default)s)")
    parser.add_argument("--uneven", type=int, default=2, metavar="ROUNDS", help="of `waves` (%(default)s)")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="of `backlog` and `waves`: these contenders (all)"
    )
    parser.add_argument("--scale-ins", type=int, default=200, help="of ours, in `drain` and in `protect` (%(default)s)")
    parser.add_argument(
        "--longest", type=int, default=480, metavar="SECONDS", help="of `drain` and of `protect` (%(default)s)"
    )
    parser.add_argument("--small", action="store_true", help="to see that it works: one round of everything, of little")
    parser.add_argument("--output", default=str(ROOT / "target" / "keda.json"), metavar="FILE")
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if args.small:
        vars(args).update(SMALL)
    return args


def main():
    args = arguments()
    results = {"cores": os.cpu_count()}
    session = Session()
    try:
        for part in args.parts or PARTS:
            load = os.getloadavg()[0]
            results[part] = {**PARTS[part][0](session, args), "load_before": round(load, 1)}
            print("\n".join(table(part, results[part])), flush=True)
            Path(args.output).parent.mkdir(exist_ok=True)
            Path(args.output).write_text(json.dumps(results, indent=1), encoding="utf-8")
    finally:
        session.stop()


if __name__ == "__main__":
    main()
