from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.speech_recognition.settings", "experiments.speech_recognition.train")
