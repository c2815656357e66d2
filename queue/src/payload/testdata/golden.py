"""Writes golden.txt: calls as RQ stores them, pickled by this Python with every protocol.

Sets have one element each, so that their order cannot vary. Usage: python3 golden.py > golden.txt
"""

import base64
import collections
import datetime as d
import decimal
import pathlib
import pickle
import uuid
import zlib

tz = d.timezone(d.timedelta(hours=5, minutes=30))
lmt = d.timezone(d.timedelta(minutes=53, seconds=28))
shared = ["x"]
cases = {
    "text": ("ACME;1",),
    "chinese": ('{"Name": "上海"}', "é" * 300),
    "numbers": (
        0,
        1,
        255,
        256,
        65535,
        65536,
        -1,
        -129,
        2**31,
        2**62,
        -(2**63),
        2**63,
        2**64 - 1,
        2**64,
        -(2**63) - 1,
        10**40,
        True,
        False,
        None,
        1.5,
        -0.0,
        1e300,
    ),
    "nonfinite": (float("nan"), float("inf"), float("-inf")),
    "containers": (
        [1, [2, (3,)]],
        {"a": {"b": []}},
        (),
        (1, 2),
        (1, 2, 3),
        (1, 2, 3, 4),
        {7},
        frozenset([8]),
        [shared, shared],
    ),
    "keys": ({2: "a", None: "b", True: "c", 1.5: "d", (1, 2): "e", d.date(2026, 1, 2): "f", b"k": "g"},),
    "bytes": (b"plain", b"\xff\x00", bytearray(b"ba"), b"", b"z" * 300),
    "dates": (
        d.date(2010, 10, 22),
        d.datetime(2026, 1, 2, 3, 4, 5),
        d.datetime(2026, 1, 2, 3, 4, 5, 6),
        d.datetime(2026, 1, 2, 3, 4, 5, tzinfo=d.UTC),
        d.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=tz),
        d.datetime(1890, 1, 2, 3, 4, 5, tzinfo=lmt),
        d.datetime(2026, 10, 25, 2, 30, fold=1),
        d.time(1, 2, 3),
        d.time(1, 2, 3, 4, tzinfo=tz),
        d.date(1, 1, 1),
        d.datetime(9999, 12, 31, 23, 59, 59, 999999),
    ),
    "durations": (d.timedelta(days=1, seconds=1), d.timedelta(milliseconds=-1500), d.timedelta(0)),
    "exact": (
        decimal.Decimal("1.50"),
        decimal.Decimal("NaN"),
        decimal.Decimal("1E+3"),
        uuid.UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        uuid.UUID(int=5),
    ),
    "collections": (
        collections.OrderedDict(a=1, b=2),
        collections.defaultdict(list, {"k": [1]}),
        collections.Counter("aab"),
        collections.deque([1, 2]),
        collections.deque([1, 2], maxlen=2),
        pathlib.PurePosixPath("/a/b"),
        pathlib.PurePosixPath("x/y"),
        pathlib.PurePosixPath(),
    ),
}
for name, args in cases.items():
    for proto in range(6):
        call = ("m.f", None, args, {"k": 1})
        print(name, proto, base64.b64encode(zlib.compress(pickle.dumps(call, protocol=proto), 9)).decode())
