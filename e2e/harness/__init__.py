"""What the black-box tests and the benchmark share: real servers, workers as processes, and the companies oracle."""
