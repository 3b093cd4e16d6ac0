"""The door of all commands: `--help`, wrong inputs, and Ctrl-C, before anything is imported."""

import os
import subprocess
import sys
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

from experiments.common.command import InputError, run
from experiments.common.parsing import parse
from tests.helpers import ROOT

COMMANDS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py"))
OUT_OF_RANGE = [
    ("sentiment --epochs 0", "--epochs must be at least 1, got 0."),
    ("sentiment --batch-size 0", "--batch-size must be at least 1, got 0."),
    ("sentiment --folds 7", "--folds must be at least 1 and at most 5, got 7."),
    ("sentiment --folds 0", "--folds must be at least 1 and at most 5, got 0."),
    ("sentiment --learning-rate nan", "--learning-rate must be above 0, got nan."),
    ("sentiment --learning-rate=-1e-3", "--learning-rate must be above 0, got -0.001."),
    ("sentiment --dropout 1", "--dropout must be at least 0 and below 1, got 1.0."),
    ("sentiment --devices 0", "--devices must be at least 1, got 0."),
    ("translation --num-pairs 0", "--num-pairs must be at least 1, got 0."),
    ("translation --widths 12 0", "each value of --widths must be at least 1, got 0."),
    ("summarization --widths 48 0", "each value of --widths must be at least 1, got 0."),
    ("summarization --weight-decay inf", "--weight-decay must be at least 0, got inf."),
    ("text_generation --passes 0", "--passes must be at least 1, got 0."),
    ("text_generation --sample x --top-p 2", "--top-p must be at least 0 and at most 1, got 2.0."),
    ("text_generation --sample x --length=-1", "--length must be at least 0, got -1."),
    ("question_answering --num-test 0", "--num-test must be at least 1, got 0."),
    ("speech_recognition --speed=-1", "--speed must be at least 0, got -1.0."),
    ("speech_synthesis --listener.epochs 0", "--listener.epochs must be at least 1, got 0."),
    ("images --seeds 0", "--seeds must be at least 1, got 0."),
    ("video --frame-weight=-1", "--frame-weight must be at least 0, got -1.0."),
    ("exercises --train x --window 0", "--window must be above 0, got 0.0."),
    ("exercises --train x --rate=-50", "--rate must be above 0, got -50.0."),
    ("exercises --mirrored 2", "--mirrored must be at least 0 and at most 1, got 2.0."),
    ("forecasting --csv x --target y --horizon=-3", "--horizon must be at least 1, got -3."),
    ("flip_flop --pulse-rate 1.5", "--pulse-rate must be at least 0 and at most 1, got 1.5."),
    ("training_difficulty --adding 1", "each value of --adding must be at least 2, got 1."),
    ("sweep_adding --updates 3", "--updates must be at least 20, got 3."),
    ("population_adding --members 1", "--members must be at least 4, got 1."),
    ("memory_rl --discount 1.01", "--discount must be at least 0 and at most 1, got 1.01."),
    ("memory_rl --lengths 0", "each value of --lengths must be at least 1, got 0."),
    ("online_learning --rates 0", "each value of --rates must be above 0, got 0."),
    ("online_learning --online-windows 3", "--online-windows must be at least 4, got 3."),
    ("streaming --positions=-1", "each value of --positions must be at least 0, got -1."),
    ("benchmark --busy=-1", "--busy must be at least 0, got -1."),
    ("newton_benchmark --steps 0", "each value of --steps must be at least 1, got 0."),
    ("analysis_benchmark --exponents 300", "--exponents must be at least 1 and at most 256, got 3"),
    ("training_benchmark --seconds=-1", "--seconds must be at least 0, got -1.0."),
    ("export --seconds 0", "--seconds must be above 0, got 0.0."),
]
WITHOUT_EFFECT = [
    ("sentiment --predict x --epochs 3", "--epochs has no effect with --predict: leave it out."),
    ("flip_flop --predict +++ --log csv", "--log has no effect with --predict: leave it out."),
    ("video --predict x.npy --devices 2", "--devices has no effect with --predict: leave it out."),
    ("video --export onnx --epochs 2", "--epochs has no effect with --export: leave it out."),
    ("sentiment --train x --seeds 2", "--seeds has no effect with --train: leave it out."),
    ("question_answering --train x --quick", "--quick has no effect with --train: leave it out."),
    ("translation --train x --data dates", "--data has no effect with --train or --model: leave"),
    ("summarization --summarize x --model y --copy", "--copy has no effect with --model: leave"),
    ("question_answering --train x --tasks lists", "--tasks has no effect with --train: leave it"),
    ("question_answering --story x.", "--story has no effect without --ask: add it, or leave "),
    ("text_generation --temperature 1", "--temperature has no effect without --sample: add it"),
    ("forecasting --horizon 3", "--horizon has no effect without --csv: add it, or leave --hor"),
    ("forecasting --predict end --epochs 3", "--epochs has no effect with --predict: leave it"),
    ("sweep_adding --comparison.trials 9", "--comparison.trials has no effect without --search"),
    ("sweep_adding --search --updates 30", "--updates has no effect with --search: leave it out"),
    ("memory_rl --play-seed 3", "--play-seed has no effect without --play: add it, or leave"),
    ("exercises --train x.csv --mirrored 1", "--mirrored has no effect with --train: leave it out"),
    ("exercises --columns time=t", "--columns has no effect without --train: add it, or leave"),
    ("exercises --train x --quick", "--quick has no effect with --train: leave it out."),
    ("exercises --model x", "--model has no effect without --predict: add it, or leave --model"),
    ("video --train clips --imagined 1", "--imagined has no effect with --train: leave it out."),
    ("video --model x", "--model has no effect without --predict: add it, or leave --model out."),
    ("benchmark --cells --busy 2", "--busy has no effect with --cells: leave it out."),
    ("benchmark --gpu --quick", "--quick has no effect with --gpu: leave it out."),
    ("training_difficulty --quick --copy-cap 9", "--copy-cap has no effect without a value of"),
]
CONTRADICTIONS = [
    ("benchmark --cells --gpu", "--cells and --gpu exclude each other: give one of them."),
    ("exercises --cell rnn --export onnx", "--export works with a GRU, not with --cell rnn."),
    ("exercises --choose --predict x", "--choose and --predict exclude each other: give one"),
    ("exercises --train x --choose", "--choose and --train exclude each other: give one of them."),
    ("video --cell rnn --export onnx", "--export works with a GRU, not with --cell rnn."),
    ("video --train x --predict y", "--train and --predict exclude each other: give one of them."),
    ("exercises --choose --seeds 2", "--choose compares augmentations with one network each"),
    ("translation --data dates --target fr", "--target is a language of --data ddtp; dates"),
    ("forecasting --cell rnn --export onnx", "--export works with a GRU, not with --cell rnn."),
    ("forecasting --csv x --data weather", "--csv and --data exclude each other: give one of"),
    ("forecasting --csv x", "--csv needs --target, the column to forecast."),
    ("memory_rl --environment cartpole --lengths 4", "--lengths belongs to the memory chain:"),
    ("memory_rl --lengths 4 --memory-length 2", "--lengths and --memory-length exclude each"),
    ("training_difficulty --every 7", "--adding-cap must be a multiple of --every, 7, got 1500"),
    ("training_difficulty --adding --copy --pixels", "--adding, --copy and --pixels have no val"),
    ("online_learning --rates", "--rates needs at least one value."),
    ("online_learning --methods bptt bptt", "--methods names a value twice: bptt bptt."),
    ("online_learning --updates 310", "--updates must be a multiple of --every, 50, got 310."),
    ("online_learning --recall-lag 32", "--recall-lag must be above --window, 32, got 32: a bit"),
    ("streaming --sizes 9 9", "--sizes names a value twice: 9 9."),
    ("question_answering --tasks", "--tasks needs at least one value."),
    ("sweep_adding --steps", "--steps needs at least one value."),
    ("benchmark --implementations", "--implementations needs at least one value."),
    ("flip_flop --config no/such.toml", "--config: no/such.toml cannot be read as TOML (No such"),
]
NOT_EXPORTED = [
    ("translation --export onnx", "translation has no --export: only a network that is one stack"),
    ("memory_rl --export=onnx --quick", "memory_rl has no --export: only a network that is one"),
    ("images --export onnx --predict x.png", "--predict and --export exclude each other: give one"),
]
OF_ANOTHER_TYPE = [
    ("benchmark --libraries nope", "nope"),
    ("benchmark --implementations fast", "fast"),
    ("translation --data poems", "poems"),
    ("memory_rl --environment chess", "chess"),
    ("online_learning --methods adjoint", "adjoint"),
    ("training_difficulty --pixels 100", "100"),
    ("sentiment --epochs many", "--epochs"),
    ("sentiment --epoch 3", "--epoch"),
    ("interpret --nonsense", "--nonsense"),
    ("newton_benchmark --sizes x", "--sizes"),
    ("video --reader mean", "--reader"),  # no flag: it says which network is trained
]


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def refuse(line: str) -> str:
    name, *flags = line.split()
    module = import_module(f"experiments.{name}.settings")
    with pytest.raises(InputError) as caught:
        parse(module.Command, name, None, flags)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "sentence"), OUT_OF_RANGE + WITHOUT_EFFECT + CONTRADICTIONS + NOT_EXPORTED
)
def test_a_wrong_input_is_refused_in_one_sentence(line, sentence):
    said = refuse(line)
    assert said.startswith(sentence)
    assert "\n" not in said


@pytest.mark.parametrize(("line", "word"), OF_ANOTHER_TYPE)
def test_a_value_of_another_type_and_an_unknown_flag_have_status_2(line, word, capsys):
    name, *flags = line.split()
    module = import_module(f"experiments.{name}.settings")
    with pytest.raises(SystemExit) as caught:
        parse(module.Command, name, None, flags)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert word in said
    assert "Traceback" not in said


def test_a_wrong_input_is_one_line_on_stderr_with_status_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sentiment", "--epochs", "0"])
    with pytest.raises(SystemExit) as caught:
        run("experiments.sentiment.settings", "experiments.sentiment.train")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: --epochs must be at least 1, got 0.\n"


def test_a_wrong_input_is_refused_before_anything_is_imported():
    script = (
        "import sys\n"
        "sys.argv = ['sentiment', '--epochs', '0']\n"
        "from experiments.common.command import run\n"
        "try:\n"
        "    run('experiments.sentiment.settings', 'experiments.sentiment.train')\n"
        "finally:\n"
        "    print(sorted({'jax', 'numpy', 'experiments.sentiment.train'} & {*sys.modules}))"
    )
    ran = run_python(script)
    assert (ran.returncode, ran.stdout) == (2, "[]\n")
    assert ran.stderr == "error: --epochs must be at least 1, got 0.\n"


def test_help_of_all_commands_imports_nothing_that_takes_long():
    heavy = "jax jaxlib numpy flax optax orbax matplotlib pandas scipy sklearn tokenizers grujax"
    ran = run_python(
        "import runpy, sys\n"
        f"for name in {COMMANDS}:\n"
        "    sys.argv = [name, '--help']\n"
        "    try:\n"
        "        runpy.run_module(f'experiments.{name}', run_name='__main__')\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0\n"
        f"heavy = set({heavy!r}.split())\n"
        "print('imported:', sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    assert ran.stderr == "imported: []\n"
    for name in COMMANDS:
        assert f"usage: python -m experiments.{name} [-h]" in ran.stdout


INTERRUPT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == os.environ["INTERRUPTED"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
"""


def interrupt(folder: Path, command: str, imported: str) -> tuple[int, str, str]:
    """Sends a command SIGINT when it imports a module. Returns: its status, and what it prints."""
    (folder / "sitecustomize.py").write_text(INTERRUPT)
    paths = f"{folder}{os.pathsep}{ROOT}"
    ran = subprocess.run(
        [sys.executable, "-m", f"experiments.{command}"],
        env=os.environ | {"INTERRUPTED": imported, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        timeout=200,
    )
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_before_a_command_begins_is_quiet(command, tmp_path):
    for imported in (f"experiments.{command}", "experiments.common.command"):
        assert interrupt(tmp_path, command, imported) == (130, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("imported", ["tyro", "jax", "experiments.sentiment.train", "flax.linen"])
def test_ctrl_c_while_a_command_imports_is_quiet(imported, tmp_path):
    assert interrupt(tmp_path, "sentiment", imported) == (130, "", "")


def test_importing_the_experiments_leaves_ctrl_c_alone():
    ran = run_python(
        "import signal\n"
        "import experiments.common.command\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    assert ran.stdout == "True\n"


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("flip_flop --quick", "seeds", 1),
        ("flip_flop --quick --seeds 3", "seeds", 3),
        ("training_difficulty --quick --adding 20", "settings.adding", (20,)),
        ("training_difficulty --quick", "settings.adding_cap", 1000),
        ("question_answering --quick --epochs 1", "settings.epochs", 1),
        ("question_answering --quick --epochs 1", "settings.hidden_size", 32),
        ("translation --data dates --quick --num-pairs 99", "settings.num_pairs", 99),
        ("translation --data dates --quick --num-pairs 99", "settings.hidden_size", 96),
        ("summarization --quick --num-pairs None", "settings.num_pairs", None),
        ("speech_synthesis --quick --num-test 3", "num_test", 3),
        ("speech_synthesis --quick --listener.epochs 3", "listener.num_strings", 800),
        ("memory_rl --quick --seeds 2", "settings.memory_length", 8),
        ("online_learning --quick --seeds 2", "settings.tasks", ("recall",)),
        ("streaming --quick --epochs 3", "settings.length", 1024),
        ("population_adding --quick --steps 9", "settings.members", 8),
        ("sweep_adding --quick --search", "comparison.trials", 16),
        ("benchmark --quick --seconds 3", "seconds", 3.0),
    ],
)
def test_a_flag_that_is_given_comes_before_the_values_of_quick(line, value, expected):
    name, *flags = line.split()
    command = parse(import_module(f"experiments.{name}.settings").Command, name, None, flags)
    assert attrgetter(value)(command) == expected


def test_flags_hold_for_all_networks_of_a_command():
    def read(name: str, *flags: str):
        return parse(import_module(f"experiments.{name}.settings").Command, name, None, flags)

    before, after = (read("video", *flags).trainings() for flags in ((), ("--epochs", "32")))
    assert [row.epochs for row in before.values()] == [32, 32, 12, 16]
    assert [row.epochs for row in after.values()] == [32, 32, 32, 32]
    assert [row.num_clips for row in after.values()] == [1600, 1600, 1600, 6400]
    quick = read("speech_recognition", "--quick", "--noise", "0").trainings()
    assert [row.distortion.noise for row in quick.values()] == [0, 0]
    assert [row.num_layers for row in quick.values()] == [2, 3]
    cells = read("images", "--quick", "--angle", "0").cells()
    assert {row.distortion.angle for cell in cells.values() for row in cell.values()} == {0}
    studies = [
        read("forecasting", "--epochs", "24").study_settings(x) for x in ("weather", "stocks")
    ]
    assert [(row.epochs, row.window) for row in studies] == [(24, 14), (24, 22)]
    language = read("text_generation", "--quick", "--steps", "32").trainings()
    assert {row.steps for row in language.values()} == {32}
    assert {row.parameters for row in language.values()} == {30_000, 100_000}
