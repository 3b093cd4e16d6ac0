from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.question_answering.settings", "experiments.question_answering.train")
