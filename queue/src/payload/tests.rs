//! Payloads as real Python wrote them, and hostile ones.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::{Compression, write::ZlibEncoder};
use jobqueue_json::{Value, json};
use proptest::prelude::*;
use serde_json::Map;

use super::{BYTES_KEY, MAX_VALUES, bytes_value, decode, encode_call, encode_result};
use crate::{Call, PayloadError, PayloadLimits, Serializer};

fn limits() -> PayloadLimits {
    PayloadLimits::default()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A protocol 4 call of `f` whose only argument is what `argument` leaves on the stack.
fn call_with(argument: &[u8]) -> Vec<u8> {
    [b"\x80\x04(\x8c\x01fN".as_slice(), argument, b"\x85}t."].concat()
}

fn refusal(bytes: &[u8]) -> String {
    match decode(bytes, &limits()) {
        Err(PayloadError::NotData(what)) => what,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn too_large(bytes: &[u8]) {
    let outcome = decode(bytes, &limits());
    assert!(matches!(outcome, Err(PayloadError::TooLarge(_))), "{outcome:?}");
}

fn malformed(bytes: &[u8]) {
    let outcome = decode(bytes, &limits());
    assert!(matches!(outcome, Err(PayloadError::Malformed(_))), "{outcome:?}");
}

/// What `testdata/golden.py` pickled, as it must arrive.
fn golden(name: &str) -> Value {
    match name {
        "text" => json!(["ACME;1"]),
        "chinese" => json!([r#"{"Name": "上海"}"#, "é".repeat(300)]),
        "numbers" => jobqueue_json::parse(
            "[0, 1, 255, 256, 65535, 65536, -1, -129, 2147483648, 4611686018427387904, -9223372036854775808,
              9223372036854775808, 18446744073709551615, 18446744073709551616, -9223372036854775809,
              10000000000000000000000000000000000000000, true, false, null, 1.5, -0.0, 1e+300]",
        )
        .unwrap(),
        "nonfinite" => json!(["NaN", "Infinity", "-Infinity"]),
        "containers" => json!([
            [1, [2, [3]]], {"a": {"b": []}}, [], [1, 2], [1, 2, 3], [1, 2, 3, 4], [7], [8], [["x"], ["x"]]
        ]),
        "keys" => json!([
            {"2": "a", "null": "b", "true": "c", "1.5": "d", "[1,2]": "e", "2026-01-02": "f", "k": "g"}
        ]),
        "bytes" => {
            let z = "z".repeat(300);
            [b"plain".as_slice(), b"\xff\x00", b"ba", b"", z.as_bytes()].map(bytes_value).to_vec().into()
        }
        "dates" => json!([
            "2010-10-22",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.000006",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.678000+05:30",
            "1890-01-02T02:10:37Z",
            "2026-10-25T02:30:00",
            "01:02:03",
            "01:02:03.000004+05:30",
            "0001-01-01",
            "9999-12-31T23:59:59.999999"
        ]),
        "durations" => json!([86_401, -1.5, 0]),
        "exact" => json!([
            "1.50",
            "NaN",
            "1E+3",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "00000000-0000-0000-0000-000000000005"
        ]),
        "collections" => json!([{"a": 1, "b": 2}, {"k": [1]}, {"a": 2, "b": 1}, [1, 2], [1, 2], "/a/b", "x/y", "."]),
        other => panic!("no expectation for {other}"),
    }
}

#[test]
fn python_pickles_of_every_protocol_arrive_as_documented() {
    let mut seen = 0;
    for line in include_str!("testdata/golden.txt").lines() {
        let [name, protocol, data] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let call = decode(&BASE64.decode(data).unwrap(), &limits())
            .unwrap_or_else(|error| panic!("{name} {protocol}: {error}"));
        assert_eq!(Value::from(call.args), golden(name), "{name}, protocol {protocol}");
        assert_eq!((call.function.as_str(), call.serializer), ("m.f", Serializer::Pickle));
        assert_eq!(Value::Object(call.kwargs), json!({"k": 1}));
        seen += 1;
    }
    assert_eq!(seen, 11 * 6);
}

/// What `testdata/zones.py` pickled: dates and times in zones of `datetime`, `zoneinfo`, pytz and dateutil.
#[test]
fn python_datetimes_have_the_offset_that_python_computes() {
    let mut seen = 0;
    for line in include_str!("testdata/zones.txt").lines() {
        let [name, protocol, data, expected] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let call = decode(&BASE64.decode(data).unwrap(), &limits())
            .unwrap_or_else(|error| panic!("{name} {protocol}: {error}"));
        assert_eq!(call.args, [json!(expected)], "{name}, protocol {protocol}");
        seen += 1;
    }
    assert_eq!(seen, 120);
}

#[test]
fn zones_take_the_arguments_that_they_pickle_and_no_others() {
    let datetime = |zone: &[u8]| {
        call_with(&[b"cdatetime\ndatetime\nC\x0a\x07\xda\x0a\x1f\x02\x1e\0\0\0\0", zone, b"\x86R"].concat())
    };
    let error = |zone: &[u8]| decode(&datetime(zone), &limits()).unwrap_err().to_string();
    // getattr is of ZoneInfo and _unpickle alone.
    assert_eq!(refusal(&call_with(b"cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x05clear\x86R")), "builtins.getattr");
    assert_eq!(refusal(&call_with(b"cbuiltins\ngetattr\ncdatetime\ndate\n\x8c\x09_unpickle\x86R")), "builtins.getattr");
    assert!(refusal(&call_with(b"cbuiltins\ngetattr\n")).contains("builtins.getattr"));
    assert!(refusal(&call_with(b"czoneinfo\nZoneInfo\n")).contains("zoneinfo.ZoneInfo"));
    for (zone, words) in [
        (b"czoneinfo\nZoneInfo\n\x8c\x03UTC\x85R".as_slice(), "zoneinfo.ZoneInfo with arguments it does not take"),
        (
            b"cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x09_unpickle\x86R\x8c\x04Mars\x88\x86R",
            "the time zone \"Mars\" is not known",
        ),
        (
            b"cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x09_unpickle\x86R\x8c\x03UTCK\x07\x86R",
            "with arguments it does not take",
        ),
        (b"cpytz\n_p\n\x8c\x0c../../passwd\x85R", "the time zone \"../../passwd\" is not known"),
        (b"cpytz\n_p\n(\x8c\x03UTCJ\x80\x51\x01\0K\0\x8c\x01XtR", "pytz._p with arguments it does not take"),
        (b"cpytz\nFixedOffset\nM\xa0\x05\x85R", "pytz.FixedOffset with arguments it does not take"),
        (b"cdateutil.tz.tz\ntzfile\nN\x8c\x0e/etc/localtime\x86R", "the time zone \"/etc/localtime\" is not known"),
        (b"cdateutil.tz.tz\ntzoffset\n)\x81", "a time zone that is none"),
        (b"cdateutil.tz.tz\ntzoffset\n)\x81}b", "a tzoffset without its offset"),
        (b"cdateutil.tz.tz\n_ttinfo\n)\x81", "a time zone that is none"),
        (b"cdateutil.tz.tz\ntzlocal\n)\x81", "dateutil.tz.tzlocal(), the zone of the machine that made it"),
        (b"K\x07", "a time zone that is none"),
    ] {
        let error = error(zone);
        assert!(error.contains(words), "{error}");
    }
    // A table of 32 bits ends in 2037.
    let late = b"cdatetime\ndatetime\nC\x0a\x07\xf6\x07\x01\0\0\0\0\0\0cdateutil.tz.tz\ntzfile\nN\x8c\x21/usr/share/zoneinfo/Europe/Berlin\x86R\x86R";
    let error = decode(&call_with(late), &limits()).unwrap_err().to_string();
    assert!(error.contains("a datetime of the year 2038 in Europe/Berlin of a dateutil before 3.0"), "{error}");
}

#[test]
fn the_json_serializer_and_raw_bytes_are_recognised() {
    let bytes = br#"["tasks.parse", null, ["ACME;1"], {"k": 1}]"#;
    for form in [bytes.to_vec(), zlib(bytes)] {
        let call = decode(&form, &limits()).unwrap();
        assert_eq!((call.function.as_str(), call.serializer), ("tasks.parse", Serializer::Json));
        assert_eq!((Value::from(call.args), Value::Object(call.kwargs)), (json!(["ACME;1"]), json!({"k": 1})));
    }
    assert_eq!(decode(&call_with(b"K\x07"), &limits()).unwrap().args, [json!(7)]);
}

#[test]
fn bytes_stay_bytes_and_the_text_of_python_2_is_text() {
    let argument = |bytes: &[u8]| decode(&call_with(bytes), &limits()).map(|call| call.args[0].clone());
    // UTF-8 by chance, or not: what arrives must not depend on it.
    for digest in [b"\xc3\xa9\xc3\xa9", b"\xde\xad\xbe\xef"] {
        assert_eq!(argument(&[b"C\x04".as_slice(), digest].concat()), Ok(bytes_value(digest)));
    }
    assert_eq!(argument(b"U\x05plain"), Ok(json!("plain")));
    assert_eq!(argument(b"}C\x01aK\x01s"), Ok(json!({"a": 1})));
    malformed(&call_with(b"}C\x01\xffK\x01s"));
    // What stands for bytes cannot be had otherwise.
    malformed(&call_with(&[b"}\x8c\x06".as_slice(), BYTES_KEY.as_bytes(), b"\x8c\x02ffs"].concat()));
}

#[test]
fn floats_and_integers_have_the_digits_that_python_prints() {
    // Of the last ones, some have two shortest texts.
    let numbers = "[0.1, 2.675, 1e-07, 1e-05, 0.0001, 1e+16, 1234567890123456.8, 5e-324, -0.0, 2**70, -2**64, 10**30, 3.0, \
                   *(n / 8 for n in range(10**16, 10**16 + 99)), *(-n / 8 for n in range(10**15, 10**15 + 99))]";
    let program = format!("import sys,pickle; sys.stdout.write(repr(pickle.dumps({numbers}, protocol=4).hex()))");
    let printed = format!("print(str({numbers}).replace(' ', ''))");
    let (Some(pickled), Some(printed)) = (python(&program, b""), python(&printed, b"")) else { return };
    let hex = pickled.trim_matches('\'').as_bytes();
    let bytes: Vec<u8> =
        hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    // Without PROTO (two bytes) and FRAME (nine), and without STOP.
    let list = &bytes[11..bytes.len() - 1];
    assert_eq!(decode(&call_with(list), &limits()).unwrap().args[0].to_string(), printed.trim());
}

#[test]
fn json_numbers_keep_their_digits() {
    let call =
        decode(br#"["f", null, [0.10, 123456789012345678901234567890, 1E400], {"k": 2.675}]"#, &limits()).unwrap();
    assert_eq!(Value::from(call.args).to_string(), "[0.10,123456789012345678901234567890,1E400]");
    assert_eq!(call.kwargs["k"].to_string(), "2.675");
}

#[test]
fn whatever_would_run_code_is_refused_by_name() {
    assert_eq!(refusal(&call_with(b"cos\nsystem\n\x8c\x02id\x85R")), "os.system");
    assert_eq!(refusal(&call_with(b"\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R")), "os.system");
    assert_eq!(refusal(&call_with(b"cbuiltins\neval\n\x8c\x01x\x85R")), "builtins.eval");
    assert_eq!(refusal(&call_with(b"(ios\nsystem\n")), "os.system");
    assert_eq!(refusal(&call_with(b"capp.models\nCompany\n)\x81")), "app.models.Company");
    assert!(refusal(&call_with(b"Pid\n")).contains("persistent id"));
    assert!(refusal(&call_with(b"\x82\x01")).contains("extension"));
    assert!(refusal(&call_with(b"cdatetime\ndate\n")).contains("datetime.date"));
    // A method call carries its object in the second place.
    assert!(refusal(b"\x80\x04(\x8c\x01m\x8c\x03obj)}t.").contains("method"));
    assert!(refusal(br#"["m", {"self": 1}, [], {}]"#).contains("method"));
}

#[test]
fn messages_stay_short_whatever_the_names_in_the_payload() {
    let name = "x".repeat(5000);
    let key = [b"X".as_slice(), &5000_u32.to_le_bytes(), name.as_bytes()].concat();
    for payload in [
        call_with(&[b"c".as_slice(), name.as_bytes(), b"\nf\n"].concat()),
        call_with(&[b"}".as_slice(), &key, b"Ns", &key, b"Ns"].concat()),
        format!(r#"["{name}", 1, [], {{}}]"#).into_bytes(),
    ] {
        let message = decode(&payload, &limits()).unwrap_err().to_string();
        assert!(message.contains("xxxxxxxxxx…") && message.len() < 500, "{message}");
    }
}

#[test]
fn a_zlib_bomb_stops_at_the_limit() {
    let small = PayloadLimits { max_inflated_bytes: 1 << 20, ..limits() };
    let bomb = zlib(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert!(matches!(decode(&bomb, &small), Err(PayloadError::TooLarge(_))));
    assert!(matches!(
        decode(&[0x80; 20], &PayloadLimits { max_bytes: 10, ..limits() }),
        Err(PayloadError::TooLarge(_))
    ));
}

#[test]
fn nesting_is_bounded_in_both_serializers() {
    too_large(&[b"[\"f\",null,".as_slice(), &b"[".repeat(10_000)].concat());
    too_large(&call_with(&[b"]".repeat(10_000), b"a".repeat(9_999)].concat()));
    // Even where the limit allows everything: a list that contains itself.
    let wide = PayloadLimits { max_depth: usize::MAX, ..limits() };
    assert!(matches!(decode(&call_with(b"]\x94h\x00a"), &wide), Err(PayloadError::TooLarge(_))));
    let deep_text = [b"[\"f\",null,[\"".as_slice(), &b"[".repeat(10_000), b"\"],{}]"].concat();
    assert_eq!(decode(&deep_text, &limits()).unwrap().args[0].as_str().unwrap().len(), 10_000);
}

#[test]
fn memo_bombs_cost_nothing() {
    // Twenty-eight lists, each holding the one before twice: 2^28 values when written out.
    let mut doubling = b"]\x94".to_vec();
    for level in 0..28 {
        doubling.extend([b'(', b'h', level, b'h', level, b'l', 0x94]);
    }
    too_large(&call_with(&doubling));
    // One megabyte of text, a thousand times.
    let mut shared = [b"(X\0\0\x10\0".as_slice(), &vec![b'x'; 1 << 20], b"\x94"].concat();
    shared.extend(b"h\0".repeat(1000));
    shared.push(b'l');
    too_large(&call_with(&shared));
    // A copy of a long list, over and over.
    let mut copies = [b"]\x94(".as_slice(), &b"N".repeat(100_000), b"e0cbuiltins\nset\n\x940"].concat();
    copies.extend(b"h\x01h\0\x85R0".repeat(1000));
    too_large(&call_with(&[copies.as_slice(), b"N"].concat()));
    too_large(&call_with(&b"(".repeat(MAX_VALUES + 1)));
    too_large(&call_with(&b"N".repeat(MAX_VALUES + 1)));
    too_large(&call_with(b"Nr\xff\xff\xff\x7f"));
    too_large(&call_with(&[b"\x8b\0\x10\0\0".as_slice(), &[0x7f; 4096]].concat()));
    too_large(&[b"[\"f\",null,[".as_slice(), &b"0,".repeat(MAX_VALUES + 1)].concat());
}

#[test]
fn broken_payloads_say_so() {
    for bytes in [
        b"".as_slice(),
        b"\x80",
        b"\x80\x04.",
        b"\x80\x06N.",
        b"hello",
        b"[1, 2",
        br#"["f", null, []]"#,
        br#"["f", null, {}, {}]"#,
        br#"["f", null, [NaN], {}]"#,
        &zlib(b"nonsense"),
        &zlib(b"[\"f\",null,[],{}]")[..15],
        &call_with(b"h\x05"),
        &call_with(b"\x8c\x02\xff\xff"),
        &call_with(b"\x8c\xffshort"),
        &call_with(b"}(Nu"),
        &call_with(b"a"),
        &call_with(b"(K\x01}K\x01K\x02s\x8c\x011K\x03sl"),
        &call_with(b"cdatetime\ndate\nC\x04\x07\xe5\x0d\x01\x85R"),
        &call_with(b"cuuid\nUUID\n)\x81}b"),
        &call_with(b"\x97"),
    ] {
        if bytes.ends_with(b"}b\x85}t.") {
            // A UUID that never got its number is a bare type.
            assert!(decode(bytes, &limits()).is_err());
        } else {
            malformed(bytes);
        }
    }
}

/// Runs a Python program over bytes, where there is a Python (there is in CI).
fn python(program: &str, input: &[u8]) -> Option<String> {
    let mut child =
        Command::new("python3").args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 could not read it");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn python_reads_our_results_and_calls() {
    use serde_json::{Value, json};
    let value = json!({"id": 7, "name": "上海", "big": u64::MAX, "neg": i64::MIN, "rows": [1, 2.5, null, true, {}]});
    let dump = "import sys,pickle,json; print(json.dumps(pickle.loads(sys.stdin.buffer.read()), ensure_ascii=False))";
    let Some(read) = python(dump, &encode_result(&value, Serializer::Pickle)) else { return };
    assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), value);
    let kwargs: Map<String, Value> = json!({"k": [1]}).as_object().unwrap().clone();
    let call = encode_call("m.f", &[json!("ACME;1"), json!(2)], &kwargs, Serializer::Pickle);
    let show = "import sys,pickle,zlib; print(pickle.loads(zlib.decompress(sys.stdin.buffer.read())))";
    assert_eq!(python(show, &call).unwrap().replace("()", "None").trim(), "('m.f', None, ('ACME;1', 2), {'k': [1]})");
    let json_call = encode_call("m.f", &[json!("ACME;1")], &kwargs, Serializer::Json);
    let show = "import sys,json,zlib; print(json.loads(zlib.decompress(sys.stdin.buffer.read()).decode()))";
    assert_eq!(python(show, &json_call).unwrap().trim(), "['m.f', None, ['ACME;1'], {'k': [1]}]");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn calls_come_back_as_they_were(args in prop::collection::vec(any_json(), 0..4), pickled: bool) {
        let serializer = if pickled { Serializer::Pickle } else { Serializer::Json };
        let kwargs = Map::from_iter([("k".to_owned(), serde_json::Value::from(args.clone()))]);
        let bytes = encode_call("m.f", &args, &kwargs, serializer);
        let args: Vec<Value> = args.into_iter().map(Value::from).collect();
        let kwargs = jobqueue_json::Map::from_iter([("k".to_owned(), Value::from(args.clone()))]);
        let call = Call { function: "m.f".into(), args, kwargs, serializer };
        prop_assert_eq!(decode(&bytes, &limits()), Ok(call));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &limits());
        let _ = decode(&call_with(&bytes), &limits());
    }

    #[test]
    fn no_opcodes_make_it_panic(ops in prop::collection::vec(prop::sample::select(OPCODES), 0..60)) {
        let _ = decode(&call_with(&ops.concat()), &limits());
    }
}

/// Building blocks, so that random programs get past the first opcode.
const OPCODES: &[&[u8]] = &[
    b"(",
    b"0",
    b"1",
    b"2",
    b"N",
    b"\x88",
    b"K\x07",
    b"J\xff\xff\xff\xff",
    b"\x8a\x02\xff\x7f",
    b"G@\x09\x21\xfb\x54\x44\x2d\x18",
    b"\x8c\x03int",
    b"C\x04\x07\xe5\x01\x02",
    b"C\x0a\x07\xe5\x01\x02\x03\x04\x05\0\0\x06",
    b"]",
    b")",
    b"}",
    b"\x8f",
    b"t",
    b"l",
    b"d",
    b"\x85",
    b"\x86",
    b"\x87",
    b"a",
    b"e",
    b"\x90",
    b"\x91",
    b"s",
    b"u",
    b"\x94",
    b"h\0",
    b"h\x01",
    b"q\0",
    b"R",
    b"\x81",
    b"b",
    b"cdatetime\ndate\n",
    b"cdatetime\ndatetime\n",
    b"cdatetime\ntimedelta\n",
    b"cdatetime\ntimezone\n",
    b"cuuid\nUUID\n",
    b"cbuiltins\nset\n",
    b"ccollections\nOrderedDict\n",
    b"ccopyreg\n_reconstructor\n",
    b"c_codecs\nencode\n",
    b"cpathlib\nPurePosixPath\n",
    b"cdecimal\nDecimal\n",
    b"\x93",
    b"I01\n",
    b"L5L\n",
    b"Vabc\n",
    b"S'a\\x41'\n",
];
