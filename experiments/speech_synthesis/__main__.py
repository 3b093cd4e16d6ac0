from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.speech_synthesis.settings", "experiments.speech_synthesis.train")
