"""The black-box tests of the programs, and the harness that starts what they need."""
