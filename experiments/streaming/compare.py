"""Where recurrence wins: what one step of a stream costs, at equal quality.

GRU, LSTM and a causal Transformer with a key-value cache read characters of the Bible at three
sizes, and spoken digits at one. Their steps are timed at several positions of a stream, one stream
at a time: called from Python, and in a compiled loop. The state of a recurrent cell has one size.
The Transformer's cache keeps all steps, and doubles when it is full, or it keeps the window of 128
steps that it was trained on, and forgets the rest.

    python -m experiments.streaming            5 minutes of one idle core
    python -m experiments.streaming --quick    small networks: 2 minutes

To keep it on one core, as the figures of its page are, begin the line with `taskset -c 0` on Linux.

It reports
- the bits per character of each cell and size, and the time and memory of its step;
- time and memory at equal quality, interpolated between the sizes;
- the bits per character beyond the window;
- the step of the exported GRU in onnxruntime, with one thread, beside that of grujax;
- the digit errors of each cell, and its time per frame.

Writes results.json, report.txt, latency.png and beyond.png to runs/streaming, with a folder for
each training. After an interruption, the same command resumes.
"""

import numpy as np

from experiments.common.durable import lock_directory
from experiments.common.outputs import write_results, write_text
from experiments.common.training.run_directory import claim_directory
from experiments.streaming import digits, text
from experiments.streaming.onnx_step import make_onnx_steps
from experiments.streaming.plots import plot_beyond, plot_latency
from experiments.streaming.report import Results, as_json, make_report
from experiments.streaming.settings import Command
from experiments.streaming.steps import KINDS, Stream, time_streams


def main(command: Command) -> None:
    """Trains what is not trained, then times all steps in turn, and reports."""
    settings, out = command.settings, command.out
    with lock_directory(out):
        claim_directory(out / "trainings", settings.record())
        models, test = text.train_models(settings, out / "trainings" / "text")
        recognizers = digits.train_recognizers(settings, out / "trainings" / "digits")
    beyond = text.beyond_the_window(models, test, settings)

    gru = models["gru"]
    xs = text.one_hot(next(iter(gru.values())).model, test[: settings.loop_steps])
    streams = {
        ("text", kind, size, position): Stream(kind, trained.network(), position, xs)
        for kind, cell in KINDS.items()
        for size, trained in models[cell].items()
        for position in settings.positions
    }
    frames = np.random.default_rng(0).standard_normal(
        (settings.loop_steps, digits.STEP_SIZE), np.float32
    )
    for kind, cell in KINDS.items():
        if "growing" not in kind:  # a string of digits is shorter than the window
            network = recognizers[cell].network()
            streams["digits", kind] = Stream(kind, network, digits.POSITION, frames)
    others = {
        (size, name): run
        for size, trained in gru.items()
        for name, run in make_onnx_steps(trained.params).items()
    }
    costs, seconds = time_streams(streams, others, settings.timing_seconds)

    results = Results(models, recognizers, costs, seconds, beyond)
    report = make_report(settings, results)
    print(f"\n{report}")
    write_text(out / "report.txt", report + "\n")
    write_results(out / "results.json", as_json(settings, results))
    plot_latency(out / "latency.png", settings, results)
    plot_beyond(out / "beyond.png", results)
    print(f"\nThe report, results.json and the figures are in {out}.")
