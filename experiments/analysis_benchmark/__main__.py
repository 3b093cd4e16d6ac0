from experiments.analysis_benchmark.compare import main

if __name__ == "__main__":
    main()
