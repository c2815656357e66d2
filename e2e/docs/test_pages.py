"""The pages' blocks that need no cluster, run as they are printed."""

import pytest

from .blocks import pages, read
from .shell import Failed

FOLLOWED = [page for page in pages() if any(block.kind == "run" and block.runs("local") for block in read(page))]


@pytest.mark.usefixtures("own_network")
@pytest.mark.parametrize("page", FOLLOWED)
def test_page(page, reader):
    problem = reader("local").follow(read(page))
    if problem:
        pytest.fail(problem, pytrace=False)


def test_a_block_that_fails_is_named_with_what_it_printed(reader):
    each = reader("local")
    with pytest.raises(Failed, match=r"(?s)here.*\[ls no-such-file\] ended with 2"):
        each.shell.run("echo here\nls no-such-file\necho not here")


def test_a_block_ends_with_the_code_that_is_announced(reader):
    shell = reader("local").shell
    shell.run("(exit 3)", code=3)
    with pytest.raises(Failed, match="ended with 0 and not with 3"):
        shell.run("true", code=3)


def test_a_block_may_be_interrupted_and_leaves_the_shell(reader):
    shell = reader("local").shell
    shell.run("A=1; sleep 60 &")
    assert shell.run("sh -c 'echo begun; sleep 60'", ctrl_c_at="begun").read_text() == "begun\n"
    assert shell.run("echo $A; jobs -r | wc -l").read_text() == "1\n1\n"
    with pytest.raises(Failed, match="ended by itself"):
        shell.run("echo other", ctrl_c_at="begun")
