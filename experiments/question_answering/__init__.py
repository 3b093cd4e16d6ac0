"""Questions about stories: GRUs read the sentences, episodic attention selects them."""

from experiments.question_answering.train import Command, Settings, main, make_train

__all__ = ["Command", "Settings", "main", "make_train"]
