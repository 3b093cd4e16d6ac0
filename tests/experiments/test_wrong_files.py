"""Wrong files on the command line of each experiment: one sentence, and exit status 2."""

import ast
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.common.command import run
from tests.helpers import ROOT

CASES = [
    ("sentiment --train none.csv", "There is no file none.csv."),
    ("sentiment --train folder", "folder is a folder; a file is expected."),
    ("sentiment --train empty", "empty is empty; expected rows with a text and a label."),
    ("sentiment --train binary", "binary, line 2, is not a text file in UTF-8"),
    ("sentiment --train columns.csv", "columns.csv, line 1, has no column 'text', but 'a', 'b'"),
    ("sentiment --train columns.csv --columns a z", "columns.csv, line 1, has no column 'z'"),
    ("sentiment --train few.csv", "few.csv: the label 'x', in line 2, has 1 text; at least 10"),
    ("sentiment --train quote.csv", "quote.csv: the row that begins in line 2 is not readable"),
    ("sentiment --train broken.jsonl", "broken.jsonl, line 1, is no JSON object, such as"),
    ("sentiment --config none.toml", "--config: none.toml cannot be read as TOML"),
    ("sentiment --config binary", "--config: binary cannot be read as TOML"),
    ("sentiment --config unknown.toml", "--config: unknown.toml has 'nonsense', which is no flag"),
    ("sentiment --config range.toml", "--epochs must be at least 1, got -1."),
    ("translation --train none.csv", "There is no file none.csv."),
    ("translation --train few.csv --columns text label", "few.csv has 2 different pairs; at least"),
    ("summarization --train columns.csv", "columns.csv, line 1, has no column 'text'"),
    ("question_answering --train columns.csv", "columns.csv, line 1, has no column 'story', but"),
    ("question_answering --train stories.csv", "stories.csv has 1 question; at least 200 are"),
    ("text_generation --train empty", "empty has 0 characters; at least 20,000 are needed."),
    ("text_generation --train binary", "binary, line 2, is not a text file in UTF-8"),
    ("forecasting --csv none.csv --target a", "There is no file none.csv."),
    ("forecasting --csv empty --target a", "empty has no header: row 1 must name the columns."),
    ("forecasting --csv columns.csv --target z", "`--target` is 'z'; columns.csv has the columns"),
    ("forecasting --csv few.csv --target text", "Column 'text' of few.csv holds 'a' in row 2"),
    ("forecasting --csv columns.csv --target a", "Column 'a' is too short: it has 2 rows, 0 of"),
    ("exercises --train none.csv", "There is no file none.csv."),
    ("exercises --train folder", "folder has 0 subfolders with tables (.csv, .tsv, .txt); at"),
    ("exercises --train columns.csv", "columns.csv has no column of labels; it has the columns a"),
    ("exercises --predict columns.csv", "columns.csv has no column 'ax'; it has the columns a, b"),
    ("exercises --predict broken.npy", "broken.npy is not a .npy file of numbers ("),
    ("exercises --predict complex.npy", "complex.npy holds values of dtype complex128; expected"),
    ("video --train none", "`--train` is none; a folder with one subfolder a class is expected."),
    (
        "video --train one",
        "one has 1 subfolder with clips (.gif, .webp, .png, .apng, .npy,",
    ),
    ("video --predict song.mp3", "song.mp3 must be a folder of images, or a file .gif, .webp"),
    ("video --predict broken.gif", "broken.gif cannot be read as an image"),
    ("video --predict folder", "folder holds 0 images (.png, .jpg, .jpeg, .bmp, .webp); at least"),
    ("images --train two", "two/a/0.png cannot be read as an image"),
    ("images --train columns.csv", "`--train` is columns.csv; a folder with one subfolder a class"),
    ("images --predict none.png", "There is no file none.png."),
    ("images --predict broken.png", "broken.png cannot be read as an image"),
    ("images --predict song.mp3", "song.mp3 must be a .npy file or an image (.png, .jpg, .jpeg"),
    ("speech_recognition --train folder", "folder holds no .wav file."),
    ("speech_recognition --train words", "words has 0 usable recordings with a transcript, where"),
    ("speech_recognition --predict broken.wav", "broken.wav cannot be read as a WAV file ("),
    ("speech_recognition --predict song.mp3", "song.mp3 must be a .wav file, or a .npy file of"),
    ("speech_recognition --predict complex.npy", "complex.npy holds values of dtype complex128;"),
    ("speech_synthesis --train none", "`--train` is none; a folder of WAV files is expected."),
    ("speech_synthesis --train broken.wav", "`--train` is broken.wav; a folder of WAV files is"),
    ("speech_synthesis --train sounds", "sounds/a.wav cannot be read as a WAV file ("),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the files that the cases name."""
    folder = tmp_path_factory.mktemp("wrong")
    texts = {
        "empty": "",
        "columns.csv": "a,b,c,d\n1,2,3,4\n2,3,4,5\n",
        "few.csv": "text,label\na,x\nb,y\n",
        "quote.csv": 'text,label\n"a,x\n',
        "broken.jsonl": "no JSON\n",
        "unknown.toml": "nonsense = 1\n",
        "range.toml": "epochs = -1\n",
        "stories.csv": "story,question,answer\nIt is red.,What color is it?,red\n",
        "words/a.txt": "no recording has this text",
    }
    contents = {name: text.encode() for name, text in texts.items()}
    broken = ("binary", "broken.npy", "broken.gif", "broken.png", "broken.wav", "song.mp3")
    images = [f"{parent}/{i}.png" for parent in ("one/a", "two/a", "two/b") for i in range(10)]
    sounds = ("words/b.wav", "sounds/a.wav")
    contents |= dict.fromkeys((*broken, *images, *sounds), bytes(range(256)))
    contents["sounds/a.txt"] = b"one two"
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    np.save(folder / "complex.npy", np.zeros((3, 3), complex))
    return folder


def read_main(name: str) -> list[str]:
    """The arguments of `run` in the `__main__.py` of an experiment."""
    tree = ast.parse((ROOT / "experiments" / name / "__main__.py").read_text())
    (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [ast.literal_eval(argument) for argument in call.args]


@pytest.mark.parametrize(("line", "sentence"), CASES)
def test_a_wrong_file_is_refused_in_one_sentence(
    line: str, sentence: str, folder: Path, monkeypatch, capsys
):
    name, *flags = shlex.split(line)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *flags])
    with pytest.raises(SystemExit) as caught:
        run(*read_main(name))
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {sentence}")
    assert (caught.value.code, said.err.count("\n"), said.out) == (2, 1, "")
