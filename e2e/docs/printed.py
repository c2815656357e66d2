"""Compares the output that a page shows with what was printed.

A page may leave out lines, and its numbers are those of another day. So each line shown must be found in what was
printed, in the same order, with the same words; numbers may differ, be missing or be more, as in the columns of a
table. A line `...` stands for lines that are left out, and `...` or `…` within a line for some words. Numbers that
are the same in every run are listed in the marker: where a line has one, it must be in the line that was printed.
"""

import re

# 1,234.5 or 12 with its unit, as in 5.5 s, 60s, 1m2s and 3,613/s.
NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,.:]*(?:(?:ms|[smhd%])(?:\d+(?:ms|[smhd]))*\b)?")
LEFT_OUT = re.compile(r"(?:\.\.\.|…)")


def _words(line):
    return " ".join(NUMBER.sub(" ", line).split())


def _pattern(line):
    parts = [re.escape(" ".join(part.split())) for part in LEFT_OUT.split(NUMBER.sub(" ", line))]
    return re.compile(r" ?.* ?".join(parts))


def difference(shown, printed, fixed=()):
    """What of `shown` is not in `printed`: a sentence, or nothing."""
    lines = [line for line in printed.splitlines() if line.strip()]
    at = 0
    for line in shown.splitlines():
        if not line.strip() or line.strip() in ("...", "…"):
            continue
        numbers = [number for number in fixed if re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d,]|\.\d)", line)]
        pattern = _pattern(line)
        for index in range(at, len(lines)):
            has = all(re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d,]|\.\d)", lines[index]) for number in numbers)
            if has and pattern.fullmatch(_words(lines[index])):
                at = index + 1
                break
        else:
            return f"this line of the page was not printed{' there' if at else ''}:\n  {line.strip()}"
    return ""
