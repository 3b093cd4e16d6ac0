from experiments.speech_synthesis.train import cli

if __name__ == "__main__":
    cli()
