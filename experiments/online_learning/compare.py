"""Gradients that need no backward pass through all of time: how well do they train?

A small GRU learns five tasks with exact gradients, from backpropagation through time (BPTT) and
from real-time recurrent learning (RTRL), with truncated ones, and with approximations of RTRL:
SnAp-1, e-prop and UORO (`grujax.online`). All methods see the same streams, take the same number of
Adam updates, and have their learning rate chosen from the same grid on a validation stream.
`readout` trains the readout alone, as a baseline.

    python -m experiments.online_learning           all tasks, three seeds
    python -m experiments.online_learning --quick   one task, one seed

It reports
- the error of each method on each task, over updates, with its interval over the seeds;
- the cosine of the angle between each gradient and the exact one during training;
- the memory of a gradient by the length of the window, and its processor time;
- what RTRL loses when the parameters change at every step.

Expected: the question of `recall` comes 63 steps after its bit, and an update every 32 steps. No
truncated gradient learns it; RTRL and BPTT through earlier windows do.

Writes results.json, report.txt, curves.png, cosine.png, costs.png and every_step.png to
runs/online_learning, with a folder for each training. After an interruption, the same command
resumes.
"""

from experiments.common.durable import lock_directory
from experiments.common.outputs import write_results, write_text
from experiments.common.training.run_directory import claim_directory
from experiments.online_learning import plots
from experiments.online_learning.costs import measure_costs
from experiments.online_learning.every_step import compare_modes
from experiments.online_learning.records import Records
from experiments.online_learning.report import as_json, make_report
from experiments.online_learning.settings import Command
from experiments.online_learning.trials import run_trials


def main(command: Command) -> None:
    """Runs all trainings, or those that are missing, measures the costs, and reports."""
    settings, out = command.settings, command.out
    with lock_directory(out):
        claim_directory(out / "trainings", settings.record())
        records = Records(out / "trainings")
        results, guessing = run_trials(settings, records)
        modes = compare_modes(settings, records)
    costs = measure_costs(settings)
    report = make_report(settings, results, guessing, costs, modes)
    print(f"\n{report}")
    write_text(out / "report.txt", report + "\n")
    write_results(
        out / "results.json",
        as_json(results, costs, modes) | {"processor seconds of the trainings": records.seconds},
    )
    plots.plot_curves(out / "curves.png", results, guessing)
    plots.plot_cosines(out / "cosine.png", results)
    plots.plot_costs(out / "costs.png", costs)
    plots.plot_modes(out / "every_step.png", modes)
    print(f"\nThe report, results.json and the figures are in {out}.")
