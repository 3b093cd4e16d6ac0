"""The question-answering experiment, end to end on a few stories."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.training import loop
from experiments.common.training.models import load_model
from experiments.question_answering import train as qa
from experiments.question_answering.evaluation import (
    accuracy_by_task,
    attended_support,
    baselines,
)
from experiments.question_answering.stories import TASKS, Question
from tests.experiments.typed_commands import run_typed
from tests.helpers import read_results

SETTINGS = qa.Settings(hidden_size=8, num_examples=32, epochs=2, batch_size=32)


@pytest.mark.slow
def test_the_whole_experiment(tmp_path, capsys):
    command = qa.Command(SETTINGS, num_test=8, out=tmp_path)
    qa.main(command)
    printed = capsys.readouterr().out
    scores = read_results(tmp_path / "results.json")
    assert list(scores)[:3] == ["most frequent answer", "bag of words", "episodic attention"]
    assert all(list(row) == list(TASKS) for row in scores.values())
    assert all(f"\n{task} " in printed for task in TASKS)
    for plot in ("learning_curves", "attention"):
        assert (tmp_path / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    # Once more: nothing is trained again, and the answers are the same.
    metrics = (tmp_path / "network" / loop.METRICS).read_bytes()
    qa.main(command)
    assert "already trained (2 epochs" in capsys.readouterr().err
    assert (tmp_path / "network" / loop.METRICS).read_bytes() == metrics
    assert read_results(tmp_path / "results.json") == scores

    # The saved network answers.
    qa.main(qa.Command(out=tmp_path, ask="Where is the milk?"))
    answer = capsys.readouterr().out.splitlines()
    assert answer[1].split()[-3:] == ["1.", "2.", "3."]
    assert [line.split("  ")[0].strip() for line in answer[2:]] == qa.STORY.rstrip(".").split(". ")
    with pytest.raises(InputError, match="does not know zebra"):
        qa.main(qa.Command(out=tmp_path, ask="Where is the zebra?"))
    with pytest.raises(InputError, match="at least one sentence"):
        qa.main(qa.Command(out=tmp_path, ask="Where is the milk?", story=" . "))

    # Other settings do not mix with these.
    with pytest.raises(loop.SettingsMismatchError, match="dropout"):
        qa.main(replace(command, settings=replace(SETTINGS, dropout=0.5)))


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "rnn", "min_gru", "transformer"])
def test_another_cell_is_trained_and_asked_in_its_own_folder(cell, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("experiments.question_answering.settings.QUICK", SETTINGS)
    flags = "--quick", "--num-test", 8, "--cell", cell, "--out", tmp_path
    run_typed("question_answering", *flags)
    folder = tmp_path / "quick" / cell
    params, record, _ = load_model(folder / qa.MODEL, "")
    assert record["settings"]["cell"] == cell
    assert "RivalReader_0" in params["params"]
    assert list(read_results(folder / "results.json"))[2] == "episodic attention"
    assert f"--cell {cell} --quick --out" in capsys.readouterr().out
    ask = "--quick", "--ask", "Where is the milk?", "--out", tmp_path
    run_typed("question_answering", *ask, "--cell", cell)
    assert "attention in each pass" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_typed("question_answering", *ask)
    assert "Train it first" in capsys.readouterr().err


def test_ask_without_a_network_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="Train it first: python -m"):
        qa.main(qa.Command(out=tmp_path, ask="Where is the milk?"))


def test_scores():
    def question(task, answer, support):
        return Question(task, ("a b",) * 4, "Where ?", answer, support)

    questions = [question(TASKS[0], "hall", (1,)), question(TASKS[0], "garden", (0, 3))]
    questions += [question(task, "hall", (0,)) for task in TASKS[1:]]
    right = accuracy_by_task(questions, ["hall"] * len(questions))
    assert right == {TASKS[0]: 0.5} | dict.fromkeys(TASKS[1:], 1.0)
    attention = np.zeros((2, 2, 4))
    attention[0, 0, 1] = attention[0, 1, 2] = 1  # finds its sentence, and looks at another
    attention[1, :, 3] = 1  # finds one of two
    assert attended_support(questions[:2], attention) == 0.75


def test_baselines_answer_from_the_words_of_a_task():
    def question(i, task):
        answer = "hall" if i % 3 else "garden"
        return Question(task, (f"Mary went to the {answer}",), "Where is Mary ?", answer, (0,))

    questions = [question(i, task) for task in TASKS for i in range(9)]
    answers = baselines(questions, questions)
    assert answers["most frequent answer"] == ["hall"] * len(questions)
    assert answers["bag of words"] == [q.answer for q in questions]
