//! Numbers in JSON's notation: those that trap whoever passes them through a double, and drawn ones of the same kinds.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Always tried, in batches and alone.
pub(crate) const TRAPS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "0.0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "1.0",
    "1.10",
    "-1.10",
    "0.1",
    "0.5",
    "-0.5",
    "1.5",
    "2.5",
    "2.675",
    "1.005",
    "-2.675",
    "12345678.905",
    "99999.995",
    "99999999.994",
    "99999999.995",
    "-99999999.995",
    "99999.5",
    "0.005",
    "0.00499999999999999999999",
    "1e-7",
    "1e3",
    "1E+3",
    "1.5e2",
    "1e18",
    "1e19",
    "1e25",
    "1E400",
    "-1E400",
    "1e-400",
    "1e308",
    "1.7976931348623159e308",
    "3.4028235677973366e38",
    "1.00000017881393432617187499",
    "1.00000017881393432617187500000001",
    "127",
    "128",
    "-128",
    "-129",
    "255",
    "256",
    "2155",
    "32767",
    "32768",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.123456789012345678",
    "0.1234567890123456789",
    "123456789012345.6",
    "1234567890123456.7",
    "92233720368547758.07",
    "92233720368547758.075",
    "10000000000",
    "1234567890",
    "12345678901",
];

/// The traps, and so many others, the same for each seed.
pub(crate) fn draw(seed: u64, count: usize) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let drawn = (0..count).map(|_| literal(&mut random));
    TRAPS.iter().map(|trap| (*trap).to_owned()).chain(drawn).collect()
}

fn literal(random: &mut StdRng) -> String {
    let sign = if random.random_ratio(1, 3) { "-" } else { "" };
    let size = match random.random_range(0..10) {
        0..=1 => whole(random, 40),
        2..=3 => whole(random, 12),
        4..=5 => {
            let (whole, places) = (whole(random, 14), random.random_range(1..25));
            format!("{whole}.{}", digits(random, places))
        }
        // Half of the last place of a usual scale, and what is next to it.
        6 => {
            let (whole, places) = (whole(random, 9), [0, 2, 18][random.random_range(0..3)]);
            let fraction = digits(random, places);
            let tail = ["5", "50", "49999999999999999", "50000000000000001", "4", "6"][random.random_range(0..6)];
            format!("{whole}.{fraction}{tail}")
        }
        // As programs print doubles.
        7 => format!("{:?}", f64::from_bits(random.random_range(0x3e00_0000_0000_0000..0x4500_0000_0000_0000))),
        8 => {
            let power = 1_u128 << random.random_range(0..100);
            (power + random.random_range(0..3) - 1).to_string()
        }
        _ => {
            let (whole, places) = (whole(random, 6), random.random_range(0..12));
            let fraction = if places == 0 { String::new() } else { format!(".{}", digits(random, places)) };
            format!("{whole}{fraction}e{}", random.random_range(-25..25))
        }
    };
    format!("{sign}{size}")
}

/// Without leading zeros.
fn whole(random: &mut StdRng, most: usize) -> String {
    let count = random.random_range(1..=most);
    let all = digits(random, count);
    let trimmed = all.trim_start_matches('0');
    if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }
}

fn digits(random: &mut StdRng, count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + random.random_range(0..10_u8))).collect()
}
