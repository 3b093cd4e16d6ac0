from experiments.question_answering.train import cli

if __name__ == "__main__":
    cli()
