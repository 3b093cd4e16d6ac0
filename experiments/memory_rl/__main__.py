from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.memory_rl.settings", "experiments.memory_rl.train")
