//! The types a pickle may name. Each is plain data that we rebuild ourselves from its arguments; anything else, by any
//! opcode, is refused by name.

use std::borrow::Cow;

use chrono::TimeDelta;
use uuid::Uuid;

use super::node::{Id, Node};
use super::zone::{Clocks, Zone};
use super::{Machine, dates};
use crate::PayloadError;
use crate::payload::{malformed, shortened};

/// A Python type (or one of two helper functions of the pickle module's own making) that is known to be data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub(super) enum Allowed {
    #[strum(serialize = "datetime.date")]
    Date,
    #[strum(serialize = "datetime.datetime")]
    DateTime,
    #[strum(serialize = "datetime.time")]
    Time,
    #[strum(serialize = "datetime.timedelta")]
    TimeDelta,
    #[strum(serialize = "datetime.timezone")]
    TimeZone,
    /// `pytz.UTC` and `dateutil.tz.tzutc`.
    #[strum(serialize = "UTC")]
    Utc,
    /// The base class of zones, as protocols 0 and 1 write it beside them.
    #[strum(serialize = "datetime.tzinfo")]
    TzInfo,
    /// `getattr(ZoneInfo, "_unpickle")`, which is how a `ZoneInfo` names what makes it anew, and nothing else.
    #[strum(serialize = "builtins.getattr")]
    GetAttr,
    #[strum(serialize = "zoneinfo.ZoneInfo")]
    ZoneInfo,
    #[strum(serialize = "zoneinfo.ZoneInfo._unpickle")]
    ZoneInfoByKey,
    /// A zone of pytz, with the offset that it has for the value it is in.
    #[strum(serialize = "pytz._p")]
    Pytz,
    #[strum(serialize = "pytz.FixedOffset")]
    PytzFixed,
    #[strum(serialize = "dateutil.tz.tzoffset")]
    TzOffset,
    /// A zone that dateutil up to 2.9 read from a file; its table comes as state, and is not needed.
    #[strum(serialize = "dateutil.tz.tzfile")]
    TzFile,
    /// A line of that table.
    #[strum(serialize = "dateutil.tz._ttinfo")]
    TtInfo,
    /// The same of dateutil from 3.0 on: a class, and the function that makes it anew.
    #[strum(serialize = "dateutil.tz._tzfile.tzfile")]
    TzFileClass,
    #[strum(serialize = "dateutil.tz._tzfile._unpickle")]
    TzFileByName,
    #[strum(serialize = "decimal.Decimal")]
    Decimal,
    #[strum(serialize = "uuid.UUID")]
    Uuid,
    #[strum(serialize = "collections.OrderedDict")]
    Dict,
    #[strum(serialize = "collections.defaultdict")]
    DefaultDict,
    #[strum(serialize = "list")]
    List,
    #[strum(serialize = "set")]
    Set,
    #[strum(serialize = "bytes")]
    Bytes,
    #[strum(serialize = "pathlib.Path")]
    Path,
    /// `_codecs.encode`, how protocols 0 to 2 write bytes.
    #[strum(serialize = "_codecs.encode")]
    Encode,
    /// `copyreg._reconstructor`, how protocols 0 and 1 write objects.
    #[strum(serialize = "copyreg._reconstructor")]
    Reconstructor,
    /// Named as a base class or as the factory of a `defaultdict`, never made.
    #[strum(serialize = "object")]
    Inert,
}

impl Allowed {
    /// # Errors
    /// [`PayloadError::NotData`] naming `module.name`, e.g. `os.system`.
    pub(super) fn find(module: &str, name: &str) -> Result<Self, PayloadError> {
        Ok(match (module, name) {
            ("datetime", "date") => Self::Date,
            ("datetime", "datetime") => Self::DateTime,
            ("datetime", "time") => Self::Time,
            ("datetime", "timedelta") => Self::TimeDelta,
            ("datetime", "timezone") => Self::TimeZone,
            ("pytz", "_UTC") | ("dateutil.tz.tz", "tzutc") => Self::Utc,
            ("datetime", "tzinfo") => Self::TzInfo,
            ("builtins" | "__builtin__", "getattr") => Self::GetAttr,
            ("zoneinfo" | "backports.zoneinfo", "ZoneInfo") => Self::ZoneInfo,
            ("pytz", "_p") => Self::Pytz,
            ("pytz", "FixedOffset") => Self::PytzFixed,
            ("dateutil.tz.tz", "tzoffset") => Self::TzOffset,
            ("dateutil.tz.tz", "tzfile") => Self::TzFile,
            ("dateutil.tz.tz", "_ttinfo") => Self::TtInfo,
            ("dateutil.tz._tzfile", "tzfile") => Self::TzFileClass,
            ("dateutil.tz._tzfile", "_unpickle") => Self::TzFileByName,
            ("dateutil.tz.tz", "tzlocal") => {
                return Err(malformed(
                    "a datetime in dateutil.tz.tzlocal(), the zone of the machine that made it, which is not known here: let the \
                     producer use a zone by its name, or UTC",
                ));
            }
            ("decimal", "Decimal") => Self::Decimal,
            ("uuid", "UUID") => Self::Uuid,
            ("collections", "OrderedDict" | "Counter") | ("builtins" | "__builtin__", "dict") => Self::Dict,
            ("collections", "defaultdict") => Self::DefaultDict,
            ("collections", "deque") | ("builtins" | "__builtin__", "list") => Self::List,
            ("builtins" | "__builtin__", "set" | "frozenset") => Self::Set,
            ("builtins" | "__builtin__", "bytes" | "bytearray") => Self::Bytes,
            ("pathlib" | "pathlib._local", "Path" | "PosixPath" | "PurePath" | "PurePosixPath") => Self::Path,
            ("_codecs", "encode") => Self::Encode,
            ("copyreg" | "copy_reg", "_reconstructor") => Self::Reconstructor,
            ("builtins" | "__builtin__", "object" | "int" | "float" | "str" | "bool") => Self::Inert,
            _ => return Err(PayloadError::NotData(shortened(&format!("{module}.{name}")))),
        })
    }
}

impl<'a> Machine<'a> {
    /// REDUCE and NEWOBJ: what `type(*args)` would give, as data.
    pub(super) fn make(&mut self, allowed: Allowed, args: &[Id]) -> Result<Node<'a>, PayloadError> {
        let unfit = || unfit(allowed);
        match (allowed, args) {
            (
                Allowed::Date
                | Allowed::Time
                | Allowed::DateTime
                | Allowed::TimeDelta
                | Allowed::TimeZone
                | Allowed::Utc,
                _,
            ) => self.make_time(allowed, args),
            (
                Allowed::GetAttr
                | Allowed::ZoneInfo
                | Allowed::ZoneInfoByKey
                | Allowed::Pytz
                | Allowed::PytzFixed
                | Allowed::TzOffset
                | Allowed::TzFile
                | Allowed::TtInfo
                | Allowed::TzFileClass
                | Allowed::TzFileByName
                | Allowed::TzInfo,
                _,
            ) => self.make_zone(allowed, args)?.ok_or_else(unfit),
            (Allowed::Dict | Allowed::DefaultDict | Allowed::List | Allowed::Set, _) => {
                self.make_collection(allowed, args)
            }
            (Allowed::Decimal, [number]) => match &self.nodes[*number as usize] {
                Node::Text(number) => {
                    let number = number.clone();
                    self.charge_bytes(number.len())?;
                    Ok(Node::Text(number))
                }
                _ => Err(unfit()),
            },
            (Allowed::Uuid, []) => Ok(Node::Unbuilt(Allowed::Uuid)),
            (Allowed::Bytes, []) => Ok(Node::Bytes(Cow::Borrowed(b""))),
            (Allowed::Bytes | Allowed::Encode, [source, ..]) => {
                let bytes = self.packed(*source).ok_or_else(unfit)?.into_owned();
                self.charge_bytes(bytes.len())?;
                Ok(Node::Bytes(Cow::Owned(bytes)))
            }
            (Allowed::Path, parts) => self.path(parts),
            (Allowed::Reconstructor, [of, ..]) => match self.nodes[*of as usize] {
                Node::Type(allowed) if allowed != Allowed::Reconstructor => self.make(allowed, &[]),
                _ => Err(unfit()),
            },
            _ => Err(unfit()),
        }
    }

    /// The types of `datetime`.
    fn make_time(&self, allowed: Allowed, args: &[Id]) -> Result<Node<'a>, PayloadError> {
        let unfit = || unfit(allowed);
        match (allowed, args) {
            (Allowed::Date, [state]) => Ok(text(dates::date(&self.packed(*state).ok_or_else(unfit)?)?)),
            (Allowed::Time, [state, zone @ ..]) => {
                Ok(text(dates::time(&self.packed(*state).ok_or_else(unfit)?, self.zone(zone)?)?))
            }
            (Allowed::DateTime, [state, zone @ ..]) => {
                Ok(text(dates::datetime(&self.packed(*state).ok_or_else(unfit)?, self.zone(zone)?)?))
            }
            (Allowed::TimeDelta, parts) => self.duration(parts).map(Node::Duration).ok_or_else(unfit),
            (Allowed::TimeZone, [offset, ..]) => match &self.nodes[*offset as usize] {
                Node::Duration(offset) => fixed(*offset).map(Node::Zone),
                _ => None,
            }
            .ok_or_else(unfit),
            (Allowed::Utc, []) => Ok(Node::Zone(Zone::Fixed(0))),
            _ => Err(unfit()),
        }
    }

    /// Dicts, lists and sets, and what Python has in place of them.
    fn make_collection(&mut self, allowed: Allowed, args: &[Id]) -> Result<Node<'a>, PayloadError> {
        let unfit = || unfit(allowed);
        match (allowed, args) {
            (Allowed::Dict, []) | (Allowed::DefaultDict, _) => Ok(Node::Dict(Vec::new())),
            (Allowed::Dict, [source]) => self.dict(*source),
            (Allowed::List, []) => Ok(Node::List(Vec::new())),
            (Allowed::Set, []) => Ok(Node::Set(Vec::new())),
            // A deque's second argument is its bound, which has done its work already.
            (Allowed::List, [source, ..]) => Ok(Node::List(self.items(*source).ok_or_else(unfit)??)),
            (Allowed::Set, [source]) => Ok(Node::Set(self.items(*source).ok_or_else(unfit)??)),
            _ => Err(unfit()),
        }
    }

    /// Time zones of `zoneinfo`, pytz and dateutil; none where the arguments are not those that they pickle.
    fn make_zone(&self, allowed: Allowed, args: &[Id]) -> Result<Option<Node<'a>>, PayloadError> {
        let nodes: Vec<&Node<'a>> = args.iter().map(|&id| &self.nodes[id as usize]).collect();
        let zone = match (allowed, nodes.as_slice()) {
            (Allowed::GetAttr, [Node::Type(Allowed::ZoneInfo), Node::Text(name)]) if name == "_unpickle" => {
                return Ok(Some(Node::Type(Allowed::ZoneInfoByKey)));
            }
            (Allowed::GetAttr, _) => return Err(PayloadError::NotData(allowed.to_string())),
            (Allowed::TzOffset | Allowed::TtInfo | Allowed::TzInfo, []) => return Ok(Some(Node::Unbuilt(allowed))),
            (Allowed::ZoneInfoByKey, [Node::Text(key), Node::Int(0 | 1) | Node::Bool(_)])
            | (Allowed::Pytz, [Node::Text(key)]) => Zone::named(key, Clocks::Tzdata)?,
            (Allowed::Pytz, [Node::Text(_), Node::Int(offset), Node::Int(_), Node::Text(_)]) => {
                match i32::try_from(*offset).ok().filter(|offset| offset.abs() < 86_400) {
                    Some(offset) => Zone::Localized(offset),
                    None => return Ok(None),
                }
            }
            (Allowed::PytzFixed, [Node::Int(minutes)]) => {
                match i32::try_from(*minutes).ok().filter(|minutes| minutes.abs() < 1440) {
                    Some(minutes) => Zone::Fixed(minutes * 60),
                    None => return Ok(None),
                }
            }
            (Allowed::TzOffset, [Node::Text(_) | Node::None, Node::Duration(offset)]) => match fixed(*offset) {
                Some(zone) => zone,
                None => return Ok(None),
            },
            (Allowed::TzFile, [Node::None, Node::Text(file)]) => Zone::of_file(file, Clocks::Dateutil)?,
            (
                Allowed::TzFileByName,
                [Node::Type(Allowed::TzFileClass), Node::Text(name), _, Node::Tuple(_)]
                | [Node::Type(Allowed::TzFileClass), Node::None, Node::Text(name), Node::Tuple(_)],
            ) => Zone::of_file(name, Clocks::Tzdata)?,
            _ => return Ok(None),
        };
        Ok(Some(Node::Zone(zone)))
    }

    /// The `_offset` in the state of a `tzoffset`.
    fn offset_in_state(&self, pairs: &[(Id, Id)]) -> Option<Zone> {
        let is_offset = |key: Id| matches!(&self.nodes[key as usize], Node::Text(name) if name == "_offset");
        let (_, offset) = pairs.iter().find(|(key, _)| is_offset(*key))?;
        match &self.nodes[*offset as usize] {
            Node::Duration(offset) => fixed(*offset),
            _ => None,
        }
    }

    /// BUILD: the state of an object. Only that of a UUID and of a `tzoffset` matters.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<(), PayloadError> {
        match (&self.nodes[object as usize], &self.nodes[state as usize]) {
            (Node::Unbuilt(Allowed::Uuid), Node::Dict(pairs)) => {
                let is_int = |key: Id| matches!(&self.nodes[key as usize], Node::Text(name) if name == "int");
                let int =
                    pairs.iter().find(|(key, _)| is_int(*key)).and_then(|(_, int)| match &self.nodes[*int as usize] {
                        Node::Int(int) => u128::try_from(*int).ok(),
                        Node::BigInt(digits) => digits.parse().ok(),
                        _ => None,
                    });
                let uuid = Uuid::from_u128(int.ok_or_else(|| malformed("a UUID without its number"))?);
                self.nodes[object as usize] = text(uuid.to_string());
                Ok(())
            }
            (Node::Unbuilt(Allowed::TzOffset), Node::Dict(pairs)) => {
                let zone = self.offset_in_state(pairs).ok_or_else(|| malformed("a tzoffset without its offset"))?;
                self.nodes[object as usize] = Node::Zone(zone);
                Ok(())
            }
            (_, Node::None)
            | (Node::Unbuilt(Allowed::TtInfo) | Node::Zone(Zone::Named(_, Clocks::Dateutil)), Node::Dict(_)) => Ok(()),
            (_, Node::Dict(pairs)) if pairs.is_empty() => Ok(()),
            _ => Err(malformed("state for a value that has none")),
        }
    }

    /// Packed state: bytes, or the Latin-1 text that Python 2 and protocol 2 write in their place.
    fn packed(&self, id: Id) -> Option<Cow<'_, [u8]>> {
        match &self.nodes[id as usize] {
            Node::Bytes(bytes) | Node::OldText(bytes) => Some(Cow::Borrowed(bytes)),
            Node::Text(text) => {
                text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
            }
            _ => None,
        }
    }

    /// The optional last argument of `time` and `datetime`.
    fn zone(&self, args: &[Id]) -> Result<Option<Zone>, PayloadError> {
        match args.iter().map(|&id| &self.nodes[id as usize]).collect::<Vec<_>>()[..] {
            [] | [Node::None] => Ok(None),
            [Node::Zone(zone)] => Ok(Some(*zone)),
            _ => Err(malformed("a time zone that is none")),
        }
    }

    /// `timedelta(days, seconds, microseconds)`.
    fn duration(&self, parts: &[Id]) -> Option<TimeDelta> {
        let int = |index: usize| match parts.get(index).map(|&id| &self.nodes[id as usize]) {
            None => Some(0),
            Some(Node::Int(int)) => Some(*int),
            Some(_) => None,
        };
        let sum = TimeDelta::try_days(int(0)?)?.checked_add(&TimeDelta::try_seconds(int(1)?)?)?;
        sum.checked_add(&TimeDelta::microseconds(int(2)?)).filter(|_| parts.len() <= 3)
    }

    fn items(&mut self, id: Id) -> Option<Result<Vec<Id>, PayloadError>> {
        let (Node::List(items) | Node::Tuple(items) | Node::Set(items)) = &self.nodes[id as usize] else { return None };
        let items = items.clone();
        Some(self.charge_values(items.len()).map(|()| items))
    }

    /// From a dict, or from pairs.
    fn dict(&mut self, source: Id) -> Result<Node<'a>, PayloadError> {
        let pairs = match &self.nodes[source as usize] {
            Node::Dict(pairs) => Some(pairs.clone()),
            Node::List(items) | Node::Tuple(items) => items
                .iter()
                .map(|&item| match &self.nodes[item as usize] {
                    Node::List(pair) | Node::Tuple(pair) => {
                        pair.as_slice().try_into().ok().map(|[k, v]: [Id; 2]| (k, v))
                    }
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        let pairs = pairs.ok_or_else(|| malformed("a dict made from something that has no pairs"))?;
        self.charge_values(pairs.len())?;
        Ok(Node::Dict(pairs))
    }

    fn path(&mut self, parts: &[Id]) -> Result<Node<'a>, PayloadError> {
        let mut path = String::new();
        for &part in parts {
            let Node::Text(part) = &self.nodes[part as usize] else {
                return Err(malformed("a path with a part that is not text"));
            };
            if !path.is_empty() && !path.ends_with('/') {
                path.push('/');
            }
            path.push_str(part);
            self.copied += part.len();
            if self.copied > self.max_copied {
                break;
            }
        }
        self.charge_bytes(0)?;
        Ok(text(if path.is_empty() { ".".into() } else { path }))
    }
}

fn unfit(allowed: Allowed) -> PayloadError {
    malformed(format!("{allowed} with arguments it does not take"))
}

/// Whole seconds, less than a day.
fn fixed(offset: TimeDelta) -> Option<Zone> {
    let seconds = i32::try_from(offset.num_seconds()).ok()?;
    (seconds.abs() < 86_400 && offset.subsec_nanos() == 0).then_some(Zone::Fixed(seconds))
}

fn text<'a>(text: impl Into<Cow<'a, str>>) -> Node<'a> {
    Node::Text(text.into())
}
