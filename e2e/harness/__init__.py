"""What the black-box tests and the benchmarks share: real servers, workers as processes, and the companies oracle."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
