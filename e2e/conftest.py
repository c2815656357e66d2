"""What all black-box tests have: their times for `./dev check`, and the fixture `measure`."""

from e2e.harness import check_times, measured


def pytest_configure(config):
    check_times.register(config)
    config.pluginmanager.register(measured, "measured")
