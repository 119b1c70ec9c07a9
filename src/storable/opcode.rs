//! The opcodes of format 2: the byte at the start of a value.
//!
//! Perl's source calls them `SX_…`.

pub(super) const OBJECT: u8 = 0;
pub(super) const LSCALAR: u8 = 1;
pub(super) const ARRAY: u8 = 2;
pub(super) const HASH: u8 = 3;
pub(super) const REF: u8 = 4;
pub(super) const UNDEF: u8 = 5;
pub(super) const INTEGER: u8 = 6;
pub(super) const DOUBLE: u8 = 7;
pub(super) const BYTE: u8 = 8;
pub(super) const NETINT: u8 = 9;
pub(super) const SCALAR: u8 = 10;
pub(super) const TIED_ARRAY: u8 = 11;
pub(super) const TIED_HASH: u8 = 12;
pub(super) const TIED_SCALAR: u8 = 13;
pub(super) const SV_UNDEF: u8 = 14;
pub(super) const SV_YES: u8 = 15;
pub(super) const SV_NO: u8 = 16;
pub(super) const BLESS: u8 = 17;
pub(super) const IX_BLESS: u8 = 18;
pub(super) const HOOK: u8 = 19;
pub(super) const OVERLOAD: u8 = 20;
pub(super) const TIED_KEY: u8 = 21;
pub(super) const TIED_IDX: u8 = 22;
pub(super) const UTF8STR: u8 = 23;
pub(super) const LUTF8STR: u8 = 24;
pub(super) const FLAG_HASH: u8 = 25;
pub(super) const CODE: u8 = 26;
pub(super) const WEAKREF: u8 = 27;
pub(super) const WEAKOVERLOAD: u8 = 28;
pub(super) const VSTRING: u8 = 29;
pub(super) const LVSTRING: u8 = 30;
pub(super) const SVUNDEF_ELEM: u8 = 31;
pub(super) const REGEXP: u8 = 32;
pub(super) const LOBJECT: u8 = 33;
pub(super) const BOOLEAN_TRUE: u8 = 34;
pub(super) const BOOLEAN_FALSE: u8 = 35;

/// In the first byte of a class name's length or number: four bytes follow that hold it.
pub(super) const LONG_CLASS: u8 = 0x80;

/// In the flags of a regular expression: the length of its pattern has four bytes.
pub(super) const LONG_PATTERN: u8 = 0x01;

/// In the flags of a hash key: its bytes are UTF-8.
pub(super) const KEY_UTF8: u8 = 0x01;
/// In the flags of a hash key: it is text, written in Latin-1.
pub(super) const KEY_WAS_UTF8: u8 = 0x02;
/// In the flags of a hash key: the key is an object.
pub(super) const KEY_OBJECT: u8 = 0x08;
/// In the flags of a hash key: a restricted hash allows this key, and has no value for it.
pub(super) const KEY_PLACEHOLDER: u8 = 0x10;
