"""What these tests can be told."""


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="build the programs on the bare system too, as the README does"
    )
