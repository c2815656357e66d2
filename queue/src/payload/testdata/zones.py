"""Writes lines of zones.txt: calls whose argument is a date and time in a time zone, pickled by this Python, and what
this Python says it is: `name protocol pickle text`.

Needs pytz and python-dateutil; the file has the lines of dateutil 2.9 and, where they differ, of 4.0:
  python3 zones.py > zones.txt; other/python3 zones.py dateutil-4 >> zones.txt
"""

import base64
import datetime as d
import pickle
import sys
import zlib
from zoneinfo import ZoneInfo

import dateutil.tz as du
import pytz

only = sys.argv[1] if len(sys.argv) > 1 else ""
berlin = pytz.timezone("Europe/Berlin")
summer, autumn, spring = d.datetime(2010, 7, 1, 12), d.datetime(2010, 10, 31, 2, 30), d.datetime(2010, 3, 28, 2, 30)
cases = {
    "timezone": summer.replace(tzinfo=d.timezone(d.timedelta(hours=-3, minutes=-30), "NST")),
    "zoneinfo": summer.replace(tzinfo=ZoneInfo("Europe/Berlin"), microsecond=5),
    "zoneinfo-no-cache": summer.replace(tzinfo=ZoneInfo.no_cache("Asia/Shanghai")),
    "zoneinfo-fold-0": autumn.replace(tzinfo=ZoneInfo("Europe/Berlin")),
    "zoneinfo-fold-1": autumn.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    "zoneinfo-gap-0": spring.replace(tzinfo=ZoneInfo("Europe/Berlin")),
    "zoneinfo-gap-1": spring.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    "zoneinfo-lmt": d.datetime(1880, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    "zoneinfo-2050": d.datetime(2050, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    "zoneinfo-2304": d.datetime(2304, 2, 29, tzinfo=ZoneInfo("America/Santiago")),
    "zoneinfo-9999": d.datetime(9999, 7, 1, tzinfo=ZoneInfo("America/New_York")),
    "zoneinfo-utc": summer.replace(tzinfo=ZoneInfo("UTC")),
    "zoneinfo-time": d.time(1, 2, tzinfo=ZoneInfo("Europe/Berlin")),
    "zoneinfo-time-utc": d.time(1, 2, tzinfo=ZoneInfo("Etc/GMT-8")),
    "pytz-summer": berlin.localize(summer),
    "pytz-twice-1": berlin.localize(autumn, is_dst=True),
    "pytz-twice-2": berlin.localize(autumn, is_dst=False),
    "pytz-lmt": summer.replace(tzinfo=berlin),
    "pytz-static": pytz.timezone("Etc/GMT-8").localize(summer),
    "pytz-fixed": summer.replace(tzinfo=pytz.FixedOffset(-90)),
    "pytz-utc": pytz.utc.localize(summer),
    "pytz-time": d.time(1, 2, tzinfo=berlin),
    "dateutil-utc": summer.replace(tzinfo=du.tzutc()),
    "dateutil-offset": summer.replace(tzinfo=du.tzoffset("X", 28800)),
    "dateutil-offset-unnamed": summer.replace(tzinfo=du.tzoffset(None, -5400)),
    "dateutil-file": summer.replace(tzinfo=du.gettz("Europe/Berlin")),
    "dateutil-file-by-path": summer.replace(tzinfo=du.tzfile("/usr/share/zoneinfo/Asia/Tokyo")),
    "dateutil-fold-0": autumn.replace(tzinfo=du.gettz("Europe/Berlin")),
    "dateutil-fold-1": autumn.replace(tzinfo=du.gettz("Europe/Berlin"), fold=1),
    "dateutil-gap": spring.replace(tzinfo=du.gettz("Europe/Berlin")),
    "dateutil-time": d.time(1, 2, tzinfo=du.gettz("Europe/Berlin")),
}
if only:
    only = only.replace("-4", "-")
    cases = {name.replace(only, "dateutil4-", 1): value for name, value in cases.items() if name.startswith(only)}


def text(value):
    offset = value.utcoffset()
    if offset is not None and offset.seconds % 60:
        value = value.astimezone(d.UTC)
    return value.isoformat().replace("+00:00", "Z")


for name, value in cases.items():
    for protocol in (0, 2, 4):
        data = pickle.dumps(("m.f", None, (value,), {}), protocol=protocol)
        seen = pickle.loads(data)[2][0]  # the older protocols have no fold
        print(name, protocol, base64.b64encode(zlib.compress(data, 9)).decode(), text(seen))
