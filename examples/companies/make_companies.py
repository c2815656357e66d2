#!/usr/bin/env python3
"""Invents company records in the shape of a business register's export, one JSON document a line.

    make_companies.py 20000 --bad 0.01 > companies.jsonl

The same seed gives the same lines. `--bad` spoils that share of them the way real files are spoiled. `--answers FILE`
lists the spoiled lines by what was done to them (numbers from 0), and how many companies and partners the good lines
hold: what a correct run must end with.
"""

import argparse
import json
import random
import signal
import sys

FAMILY_NAMES = "林何高梁郑谢韩唐冯于董萧程曹袁邓许傅沈曾"
GIVEN_NAMES = "文武英华勇静丽强磊洋艳娟涛超秀霞平刚桂兰"
PLACES = [
    ("江苏省", "南京市", "鼓楼区"),
    ("江苏省", "苏州市", "吴中区"),
    ("湖北省", "武汉市", "江汉区"),
    ("福建省", "厦门市", ""),
    ("山东省", "青岛市", "市南区"),
    ("陕西省", "西安市", "雁塔区"),
]
BUSINESSES = ["机械制造", "信息技术", "农产品", "装饰工程", "国际贸易", "文化传播", "仓储服务", "环保设备"]
LEGAL_FORMS = ["有限责任公司", "有限责任公司(自然人独资)", "股份有限公司(非上市)", "普通合伙企业"]
STATES = ["在业", "存续", "迁出", "吊销，未注销", "注销"]
CERTIFICATES = ["居民身份证", "营业执照", None]


def name_of_person(rng):
    return rng.choice(FAMILY_NAMES) + "".join(rng.choice(GIVEN_NAMES) for _ in range(rng.randint(1, 2)))


def day(rng, first, last):
    return rng.randint(first, last), rng.randint(1, 12), rng.randint(1, 28)


def timestamp(rng, first=1994, last=2015):
    return "{:04}-{:02}-{:02}T00:00:00+08:00".format(*day(rng, first, last))


def chinese_date(rng, first=1994, last=2015):
    return "{:04}年{:02}月{:02}日".format(*day(rng, first, last))


def yuan(rng, most):
    return f"{rng.randint(1, most)}.{rng.randint(0, 99):02}0000万元"


def perhaps(rng, value, share=0.7):
    return value if rng.random() < share else None


def partner(rng, position):
    promised = yuan(rng, 800)
    return {
        "SeqId": str(position),
        "StockName": name_of_person(rng),
        "StockType": rng.choice(["自然人股东", "企业法人", "合伙企业"]),
        "IdentifyType": rng.choice(CERTIFICATES),
        "IdentifyNo": "(非公示项)",
        "ShouldCapi": promised,
        "ShoudDate": perhaps(rng, chinese_date(rng)),
        "InvestType": rng.choice(["货币", "实物", "知识产权"]),
        "InvestName": None,
        "RealCapi": perhaps(rng, promised, 0.5),
        "CapiDate": perhaps(rng, chinese_date(rng), 0.5),
        "StockPercent": perhaps(rng, f"{rng.randint(1, 100)}%"),
        "Org": 2,
        "CompanyId": None,
        "Address": None,
    }


def number_of_partners(rng, mean):
    """Mostly a handful, now and then dozens; at least one."""
    return 1 + min(79, int(rng.expovariate(1 / max(mean - 0.5, 0.1))))


def name_of_company(rng, city, business, number):
    owner = rng.choice(FAMILY_NAMES) + rng.choice(GIVEN_NAMES)
    return f"{city[:-1]}{owner}{business}{rng.choice(['有限公司', '股份公司'])}{number:07}"


def record(rng, number, mean_partners):
    province, city, county = rng.choice(PLACES)
    business = rng.choice(BUSINESSES)
    company = {
        "Name": name_of_company(rng, city, business, number),
        "No": f"{320100000000000 + number:015}",
        "Unique": f"{rng.getrandbits(128):032x}",
        "RegistCapi": yuan(rng, 9000) + "人民币",
        "OperName": name_of_person(rng),
        "StartDate": perhaps(rng, timestamp(rng), 0.9),
        "EndDate": None,
        "EconKind": rng.choice(LEGAL_FORMS),
        "Status": rng.choice(STATES),
        "Scope": "；".join(rng.choice(BUSINESSES) for _ in range(rng.randint(1, 10))) + "。",
        "Address": f"{city}{county}{rng.choice(['中山', '解放', '人民', '建设'])}路{rng.randint(1, 999)}号",
        "TermStart": timestamp(rng),
        "TeamEnd": perhaps(rng, timestamp(rng, 2016, 2045), 0.6),
        "BelongOrg": f"{city}市场监督管理局",
        "CheckDate": perhaps(rng, timestamp(rng, 2010, 2015)),
        "UpdatedDate": timestamp(rng, 2015, 2015),
        "Province": province,
        "Area": {"Province": province, "City": city, "County": county},
        "Branches": [],
        "AnnualReports": None,
        "Partners": [partner(rng, position) for position in range(number_of_partners(rng, mean_partners))],
        "Employees": [
            {"No": 1, "Name": name_of_person(rng), "Job": rng.choice(["监事", "总经理", "董事长"]), "CerNo": None}
        ],
        "ChangeRecords": [
            {"No": 1, "ProjectName": "住所变更", "BeforeContent": "", "AfterContent": "", "ChangeDate": timestamp(rng)}
        ],
    }
    return {"Status": 1, "Message": None, "UpdateTime": timestamp(rng, 2015, 2015), "Company": company}


def as_text(rng, document):
    """Real exports mix escaped and plain Chinese; both are the same JSON."""
    return json.dumps(document, ensure_ascii=rng.random() < 0.4)


def cut_short(rng, document):
    return as_text(rng, document)[: rng.randint(20, 400)]


def missing_field(rng, document):
    del document["Company"][rng.choice(["Name", "No", "Partners"])]
    return as_text(rng, document)


def not_a_date(rng, document):
    document["Company"]["StartDate"] = rng.choice(["unknown", "2011-02-30T00:00:00+08:00", "13/2009"])
    return as_text(rng, document)


def too_long(rng, document):
    document["Company"]["Name"] = "某" * 5000
    return as_text(rng, document)


SPOILERS = {"cut short": cut_short, "missing field": missing_field, "not a date": not_a_date, "too long": too_long}


def generate(count, seed=1, mean_partners=3.0, bad=0.0):
    """Yields (line, what was done to it or None, number of partners it holds)."""
    rng = random.Random(seed)
    for number in range(count):
        document = record(rng, number, mean_partners)
        partners = len(document["Company"]["Partners"])
        if rng.random() < bad:
            how = rng.choice(sorted(SPOILERS))
            yield SPOILERS[how](rng, document), how, 0
        else:
            yield as_text(rng, document), None, partners


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many lines")
    parser.add_argument("--seed", type=int, default=1, help="another number, other companies")
    parser.add_argument(
        "--partners", type=float, default=3.0, metavar="MEAN", help="partners per company, about (default 3)"
    )
    parser.add_argument(
        "--bad", type=float, default=0.0, metavar="SHARE", help="share of spoiled lines, 0 to 1 (default 0)"
    )
    parser.add_argument("--answers", metavar="FILE", help="write what a correct run must end with, as JSON")
    return parser.parse_args()


def main():
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends us without a traceback
    args = arguments()
    answers = {"companies": 0, "partners": 0, "spoiled": {how: [] for how in SPOILERS}}
    for number, (line, how, partners) in enumerate(generate(args.count, args.seed, args.partners, args.bad)):
        sys.stdout.write(line + "\n")
        if how is None:
            answers["companies"] += 1
            answers["partners"] += partners
        else:
            answers["spoiled"][how].append(number)
    if args.answers:
        with open(args.answers, "w", encoding="utf-8") as file:
            json.dump(answers, file, indent=1)


if __name__ == "__main__":
    main()
