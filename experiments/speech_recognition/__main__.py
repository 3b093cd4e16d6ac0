from experiments.speech_recognition.train import cli

if __name__ == "__main__":
    cli()
