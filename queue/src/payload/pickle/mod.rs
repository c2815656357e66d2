//! A pickle machine for data only: protocols 0 to 5, an explicit stack, nothing imported, nothing called. Types from a
//! short allow-list ([`allowed`]) are rebuilt by us; everything else that a pickle can name is an error.
//!
//! Opcodes and their meaning are those of Python's `pickletools`. Every push, mark and copied element is charged to a
//! budget, so time and memory are bounded whatever the input does with its memo.

mod allowed;
mod dates;
mod node;
mod opcodes;
mod reader;
mod zone;

use std::borrow::Cow;

use jobqueue_json::Value;
use num_bigint::BigInt;

use self::allowed::Allowed;
use self::node::{Id, Node};
use self::opcodes as op;
use self::reader::Reader;
use super::{MAX_VALUES, malformed, too_large};
use crate::{PayloadError, PayloadLimits};

/// Python refuses to print integers of more than 4,300 digits; their bytes are about these.
const MAX_INT_BYTES: usize = 1785;
const MAX_INT_DIGITS: usize = 4300;
const NO_VALUE: Id = Id::MAX;

/// Decodes one pickle. Bytes after its STOP are ignored, as Python does.
pub(super) fn decode(bytes: &[u8], limits: &PayloadLimits) -> Result<Value, PayloadError> {
    let mut machine = Machine::new(bytes, limits.max_inflated_bytes);
    let root = machine.run()?;
    node::to_json(&machine.nodes, root, limits)
}

struct Machine<'a> {
    input: Reader<'a>,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack where MARK was seen.
    marks: Vec<usize>,
    /// By memo index; [`NO_VALUE`] where nothing was put.
    memo: Vec<Id>,
    memo_count: usize,
    /// Values pushed, marked or copied so far.
    values: usize,
    /// Bytes that had to be copied so far (text is borrowed where possible).
    copied: usize,
    max_copied: usize,
}

impl<'a> Machine<'a> {
    fn new(input: &'a [u8], max_copied: usize) -> Self {
        Self {
            input: Reader::new(input),
            nodes: Vec::with_capacity(16),
            stack: Vec::with_capacity(16),
            marks: Vec::new(),
            memo: Vec::with_capacity(16),
            memo_count: 0,
            values: 0,
            copied: 0,
            max_copied,
        }
    }

    fn run(&mut self) -> Result<Id, PayloadError> {
        loop {
            match self.input.u8()? {
                op::STOP => return self.pop(),
                opcode => {
                    if let Some(node) = self.atom(opcode)? {
                        self.push(node)?;
                    } else if !(self.arrange(opcode)? || self.contain(opcode)? || self.use_memo(opcode)?) {
                        self.object(opcode)?;
                    }
                }
            }
        }
    }

    /// Opcodes that push one value without looking at the stack; `None` for the others.
    fn atom(&mut self, opcode: u8) -> Result<Option<Node<'a>>, PayloadError> {
        let input = &mut self.input;
        Ok(Some(match opcode {
            op::NONE => Node::None,
            op::NEWTRUE => Node::Bool(true),
            op::NEWFALSE => Node::Bool(false),
            op::BININT1 => Node::Int(input.u8()?.into()),
            op::BININT2 => Node::Int(u16::from_le_bytes(input.array()?).into()),
            op::BININT => Node::Int(i32::from_le_bytes(input.array()?).into()),
            op::LONG1 => long(input.counted::<1>()?)?,
            op::LONG4 => long(input.counted::<4>()?)?,
            op::BINFLOAT => Node::Float(f64::from_be_bytes(input.array()?)),
            op::SHORT_BINUNICODE => Node::Text(input.text::<1>()?.into()),
            op::BINUNICODE => Node::Text(input.text::<4>()?.into()),
            op::BINUNICODE8 => Node::Text(input.text::<8>()?.into()),
            op::SHORT_BINBYTES => Node::Bytes(input.counted::<1>()?.into()),
            op::BINBYTES => Node::Bytes(input.counted::<4>()?.into()),
            op::SHORT_BINSTRING => Node::OldText(input.counted::<1>()?.into()),
            op::BINSTRING => Node::OldText(input.counted::<4>()?.into()),
            op::BINBYTES8 | op::BYTEARRAY8 => Node::Bytes(input.counted::<8>()?.into()),
            op::EMPTY_LIST => Node::List(Vec::new()),
            op::EMPTY_TUPLE => Node::Tuple(Vec::new()),
            op::EMPTY_DICT => Node::Dict(Vec::new()),
            op::EMPTY_SET => Node::Set(Vec::new()),
            // Protocol 0: lines of text. `I00` and `I01` are how it writes booleans.
            op::INT => match input.line()? {
                "00" => Node::Bool(false),
                "01" => Node::Bool(true),
                digits => int(digits)?,
            },
            op::LONG => int(input.line()?.trim_end_matches('L'))?,
            op::FLOAT => Node::Float(input.line()?.parse().map_err(|_| malformed("a float that is not one"))?),
            op::UNICODE => Node::Text(input.unicode_line()?),
            op::STRING => Node::OldText(Cow::Owned(input.quoted_line()?)),
            op::GLOBAL => Node::Type(Allowed::find(input.line()?, input.line()?)?),
            _ => return Ok(None),
        }))
    }

    /// Opcodes that mark the stack, or move what is on it; `false` for the others.
    fn arrange(&mut self, opcode: u8) -> Result<bool, PayloadError> {
        match opcode {
            // PROTO and FRAME tell a reader what to prepare for; there is nothing to prepare here.
            op::PROTO => match self.input.u8()? {
                0..=5 => {}
                protocol => return Err(malformed(format!("pickle protocol {protocol}, known are 0 to 5"))),
            },
            op::FRAME => drop(self.input.array::<8>()?),
            op::MARK => {
                self.charge_values(1)?;
                self.marks.push(self.stack.len());
            }
            op::POP if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            op::POP => drop(self.pop()?),
            op::POP_MARK => drop(self.pop_mark()?),
            op::DUP => self.push_id(self.top()?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Opcodes that make a container of what is on the stack, or add it to one; `false` for the others.
    fn contain(&mut self, opcode: u8) -> Result<bool, PayloadError> {
        match opcode {
            op::TUPLE => self.collect(Node::Tuple)?,
            op::LIST => self.collect(Node::List)?,
            op::FROZENSET => self.collect(Node::Set)?,
            op::DICT => {
                let pairs = pairs(&self.pop_mark()?)?;
                self.push(Node::Dict(pairs))?;
            }
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let size = usize::from(opcode - op::TUPLE1) + 1;
                let start = self.stack.len().checked_sub(size).filter(|&start| start >= self.floor());
                let items = self.stack.split_off(start.ok_or_else(underflow)?);
                self.push(Node::Tuple(items))?;
            }
            op::APPEND => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(&items)?;
            }
            op::SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.update(&[key, value])?;
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.update(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Opcodes that write to the memo, or read from it; `false` for the others.
    fn use_memo(&mut self, opcode: u8) -> Result<bool, PayloadError> {
        match opcode {
            op::MEMOIZE => self.remember(self.memo_count)?,
            op::BINPUT => {
                let index = self.input.u8()?;
                self.remember(index.into())?;
            }
            op::LONG_BINPUT => {
                let index = self.input.u32()?;
                self.remember(index as usize)?;
            }
            op::PUT => {
                let index = self.memo_line()?;
                self.remember(index)?;
            }
            op::BINGET => {
                let index = self.input.u8()?;
                self.recall(index.into())?;
            }
            op::LONG_BINGET => {
                let index = self.input.u32()?;
                self.recall(index as usize)?;
            }
            op::GET => {
                let index = self.memo_line()?;
                self.recall(index)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Opcodes that in Python import, instantiate or call.
    fn object(&mut self, opcode: u8) -> Result<(), PayloadError> {
        let refused = |what: &str| Err(PayloadError::NotData(what.to_owned()));
        match opcode {
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Text(module), Node::Text(name)) = (&self.nodes[module as usize], &self.nodes[name as usize])
                else {
                    return Err(malformed("an import whose name is not text"));
                };
                let allowed = Allowed::find(module, name)?;
                self.push(Node::Type(allowed))
            }
            op::REDUCE | op::NEWOBJ | op::NEWOBJ_EX => {
                if opcode == op::NEWOBJ_EX {
                    let kwargs = self.pop()?;
                    if !matches!(&self.nodes[kwargs as usize], Node::Dict(pairs) if pairs.is_empty()) {
                        return refused("a constructor with keyword arguments");
                    }
                }
                let (args, of) = (self.pop()?, self.pop()?);
                let Node::Type(allowed) = self.nodes[of as usize] else {
                    return Err(malformed("a call of something that is not a type"));
                };
                let Node::Tuple(args) = &self.nodes[args as usize] else {
                    return Err(malformed("a call whose arguments are not a tuple"));
                };
                let args = args.clone();
                self.charge_values(args.len())?;
                let made = self.make(allowed, &args)?;
                self.push(made)
            }
            op::BUILD => {
                let state = self.pop()?;
                let object = self.top()?;
                self.build(object, state)
            }
            op::INST => Err(Allowed::find(self.input.line()?, self.input.line()?)
                .map_or_else(|error| error, |allowed| PayloadError::NotData(format!("INST of {allowed}")))),
            op::OBJ => refused("OBJ, an instance of an old-style class"),
            op::PERSID | op::BINPERSID => refused("a persistent id"),
            op::EXT1 | op::EXT2 | op::EXT4 => refused("a code of the extension registry"),
            op::NEXT_BUFFER | op::READONLY_BUFFER => Err(malformed("its buffers are out of band")),
            _ => Err(malformed(format!("0x{opcode:02x} is not a pickle opcode"))),
        }
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), PayloadError> {
        let id = Id::try_from(self.nodes.len()).expect("the budget of values is far below 2^32");
        self.nodes.push(node);
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), PayloadError> {
        self.charge_values(1)?;
        self.stack.push(id);
        Ok(())
    }

    /// The stack below the last mark is out of reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, PayloadError> {
        self.stack[self.floor()..].last().copied().ok_or_else(underflow)
    }

    fn pop(&mut self) -> Result<Id, PayloadError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, PayloadError> {
        let height = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(height))
    }

    fn collect(&mut self, container: fn(Vec<Id>) -> Node<'a>) -> Result<(), PayloadError> {
        let items = self.pop_mark()?;
        self.push(container(items))
    }

    fn extend(&mut self, added: &[Id]) -> Result<(), PayloadError> {
        let container = self.top()?;
        match &mut self.nodes[container as usize] {
            Node::List(items) | Node::Set(items) => {
                items.extend_from_slice(added);
                Ok(())
            }
            _ => Err(malformed("elements for something that is not a list or set")),
        }
    }

    fn update(&mut self, added: &[Id]) -> Result<(), PayloadError> {
        let added = pairs(added)?;
        let container = self.top()?;
        match &mut self.nodes[container as usize] {
            Node::Dict(pairs) => {
                pairs.extend(added);
                Ok(())
            }
            _ => Err(malformed("items for something that is not a dict")),
        }
    }

    fn memo_line(&mut self) -> Result<usize, PayloadError> {
        self.input.line()?.parse().map_err(|_| malformed("a memo index that is not a number"))
    }

    fn remember(&mut self, index: usize) -> Result<(), PayloadError> {
        let top = self.top()?;
        if index >= MAX_VALUES {
            return Err(too_large(format!("memo index {index}")));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, NO_VALUE);
        }
        self.memo_count += usize::from(self.memo[index] == NO_VALUE);
        self.memo[index] = top;
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), PayloadError> {
        let id = self.memo.get(index).copied().filter(|&id| id != NO_VALUE);
        self.push_id(id.ok_or_else(|| malformed(format!("memo index {index} was never set")))?)
    }

    fn charge_values(&mut self, count: usize) -> Result<(), PayloadError> {
        self.values = self.values.saturating_add(count);
        if self.values > MAX_VALUES {
            return Err(too_large(format!("more than {MAX_VALUES} values")));
        }
        Ok(())
    }

    fn charge_bytes(&mut self, count: usize) -> Result<(), PayloadError> {
        self.copied = self.copied.saturating_add(count);
        if self.copied > self.max_copied {
            return Err(too_large(format!("more than {} bytes", self.max_copied)));
        }
        Ok(())
    }
}

fn underflow() -> PayloadError {
    malformed("the pickle takes more from its stack than it put there")
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, PayloadError> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err(malformed("a key without its value")),
    }
}

/// A little-endian two's complement integer of any length.
fn long<'a>(bytes: &[u8]) -> Result<Node<'a>, PayloadError> {
    if bytes.len() > MAX_INT_BYTES {
        return Err(too_large(format!("an integer of {} bytes", bytes.len())));
    }
    let int = BigInt::from_signed_bytes_le(bytes);
    Ok(i64::try_from(&int).map_or_else(|_| Node::BigInt(int.to_string().into()), Node::Int))
}

/// A decimal integer of any length.
fn int<'a>(digits: &str) -> Result<Node<'a>, PayloadError> {
    if digits.len() > MAX_INT_DIGITS {
        return Err(too_large(format!("an integer of {} digits", digits.len())));
    }
    let not_one = |_| malformed("an integer that is not one");
    digits
        .parse()
        .map(Node::Int)
        .or_else(|_| Ok(Node::BigInt(digits.parse::<BigInt>().map_err(not_one)?.to_string().into())))
}
