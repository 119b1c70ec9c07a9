//! The execution of one instruction of a pickle.
//!
//! Each function handles one kind of instruction, and passes every other on to the next function.

use super::error::{holds, malformed, no_number, underflow};
use super::input::qualified;
use super::machine::{Machine, pairs};
use super::node::Node;
use super::opcode::*;
use super::spelling::{decimal, from_twos_complement, unescape, unquote};
use crate::decode_error::{DecodeError, DecodeErrorKind};

impl Machine<'_> {
    /// Carries out `instruction`, whose arguments come next in the input.
    pub(super) fn step(&mut self, instruction: u8) -> Result<(), DecodeError> {
        match instruction {
            PROTO => {
                if self.input.byte()? > 5 {
                    let error = DecodeError::new(DecodeErrorKind::Version);
                    return Err(error.saying("its protocol is newer than 5"));
                }
            }
            FRAME => drop(self.input.take(8)?),

            MARK => self.marks.push(self.stack.len()),
            POP if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            POP => drop(self.pop()?),
            POP_MARK => drop(self.pop_mark()?),
            DUP => self.stack.push(self.top()?),

            PUT => {
                let id = self.input.memo_line()?;
                self.memoize(id)?;
            }
            BINPUT => {
                let id = self.input.byte()?;
                self.memoize(id.into())?;
            }
            LONG_BINPUT => {
                let id = u32::from_le_bytes(self.input.array()?);
                self.memoize(id)?;
            }
            MEMOIZE => {
                let id = self.next_memo()?;
                self.memoize(id)?;
            }
            GET => {
                let id = self.input.memo_line()?;
                self.recall(id)?;
            }
            BINGET => {
                let id = self.input.byte()?;
                self.recall(id.into())?;
            }
            LONG_BINGET => {
                let id = u32::from_le_bytes(self.input.array()?);
                self.recall(id)?;
            }
            _ => self.push_number(instruction)?,
        }
        Ok(())
    }

    /// Pushes `None`, a bool or a number.
    fn push_number(&mut self, instruction: u8) -> Result<(), DecodeError> {
        let input = &mut self.input;
        let node = match instruction {
            NONE => Node::None,
            NEWTRUE => Node::Bool(true),
            NEWFALSE => Node::Bool(false),
            INT => match input.line()? {
                b"00" => Node::Bool(false),
                b"01" => Node::Bool(true),
                digits => Node::Int(decimal(digits)?),
            },
            LONG => {
                let digits = input.line()?;
                let digits = digits.strip_suffix(b"L").unwrap_or(digits);
                Node::Int(decimal(digits)?)
            }
            FLOAT => {
                let float = std::str::from_utf8(input.line()?)
                    .ok()
                    .and_then(|text| text.parse().ok());
                Node::Float(float.ok_or_else(|| no_number("a float in it is no number"))?)
            }
            BININT => Node::Int(i32::from_le_bytes(input.array()?).to_string()),
            BININT1 => Node::Int(input.byte()?.to_string()),
            BININT2 => Node::Int(u16::from_le_bytes(input.array()?).to_string()),
            LONG1 => Node::Int(from_twos_complement(input.counted_1()?)?),
            LONG4 => Node::Int(from_twos_complement(input.counted_4()?)?),
            BINFLOAT => Node::Float(f64::from_be_bytes(input.array()?)),
            _ => return self.push_string(instruction),
        };
        self.push(node);
        Ok(())
    }

    /// Pushes text or bytes.
    fn push_string(&mut self, instruction: u8) -> Result<(), DecodeError> {
        let input = &mut self.input;
        let bytes = match instruction {
            STRING => unquote(input.line()?)?.into(),
            BINSTRING | BINBYTES => input.counted_4()?.into(),
            SHORT_BINSTRING | SHORT_BINBYTES => input.counted_1()?.into(),
            BINBYTES8 | BYTEARRAY8 => input.counted_8()?.into(),
            UNICODE => {
                let text = unescape(input.line()?)?;
                self.push(Node::Text(text.into()));
                return Ok(());
            }
            BINUNICODE => {
                let bytes = input.counted_4()?;
                return self.push_text(bytes);
            }
            SHORT_BINUNICODE => {
                let bytes = input.counted_1()?;
                return self.push_text(bytes);
            }
            BINUNICODE8 => {
                let bytes = input.counted_8()?;
                return self.push_text(bytes);
            }
            _ => return self.step_sequence(instruction),
        };
        self.push(Node::Bytes(bytes));
        Ok(())
    }

    /// Makes or extends a tuple, a list or a set.
    fn step_sequence(&mut self, instruction: u8) -> Result<(), DecodeError> {
        match instruction {
            EMPTY_TUPLE => self.push(Node::Tuple(Vec::new())),
            TUPLE1..=TUPLE3 => {
                let len = usize::from(instruction - TUPLE1 + 1);
                let from = self.stack.len().checked_sub(len).ok_or_else(underflow)?;
                if self.marks.last().is_some_and(|&mark| mark > from) {
                    return Err(underflow());
                }
                let items = self.stack.split_off(from);
                self.push(Node::Tuple(items));
            }
            TUPLE => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            EMPTY_LIST | EMPTY_SET => self.push(Node::Items(Vec::new())),
            LIST | FROZENSET => {
                let items = self.pop_mark()?;
                self.push(Node::Items(items));
            }
            APPEND => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            APPENDS | ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(items)?;
            }
            _ => self.step_dict(instruction)?,
        }
        Ok(())
    }

    /// Makes or extends a dict.
    fn step_dict(&mut self, instruction: u8) -> Result<(), DecodeError> {
        match instruction {
            EMPTY_DICT => self.push(Node::Dict(Vec::new())),
            DICT => {
                let items = self.pop_mark()?;
                self.push(Node::Dict(pairs(&items)?));
            }
            SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            SETITEMS => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            _ => self.step_object(instruction)?,
        }
        Ok(())
    }

    /// Names a class or function, or makes an object.
    fn step_object(&mut self, instruction: u8) -> Result<(), DecodeError> {
        match instruction {
            GLOBAL => {
                let class = self.input.class_lines()?;
                self.push(Node::Global(class));
            }
            STACK_GLOBAL => {
                let name = self.pop()?;
                let module = self.pop()?;
                let (Node::Text(module), Node::Text(name)) = (self.get(module), self.get(name))
                else {
                    let why = "the name of a class in it is not text";
                    return Err(malformed(why));
                };
                let class = qualified(module, name)?;
                self.count_copied(class.len())?;
                self.push(Node::Global(class));
            }
            REDUCE => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                let node = self.reduce(function, arguments)?;
                self.push(node);
            }
            NEWOBJ | NEWOBJ_EX => {
                self.pop()?;
                if instruction == NEWOBJ_EX {
                    self.pop()?;
                }
                let class = self.pop()?;
                self.push_object(class)?;
            }
            INST => {
                let class = self.input.class_lines()?;
                self.pop_mark()?;
                self.push(Node::Object { class, state: None });
            }
            OBJ => {
                let class = *self.pop_mark()?.first().ok_or_else(underflow)?;
                self.push_object(class)?;
            }
            BUILD => {
                let new = self.pop()?;
                let object = self.top()?;
                match &mut self.nodes[object.0 as usize] {
                    Node::Object { state, .. } => *state = Some(new),
                    _ => {
                        let why = "it gives a state to a value that is no object";
                        return Err(malformed(why));
                    }
                }
            }
            PERSID | BINPERSID | EXT1..=EXT4 | NEXT_BUFFER | READONLY_BUFFER => {
                return Err(holds("an object that is kept outside of the pickle"));
            }
            _ => {
                let error = DecodeError::new(DecodeErrorKind::Opcode);
                return Err(error.saying("it holds an unknown instruction"));
            }
        }
        Ok(())
    }
}
