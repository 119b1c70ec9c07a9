//! The numbers of an image, converted from the machine that wrote it.

use super::error::{Result, invalid};
use super::header::{DoubleSize, IntegerSize, Layout, Order};
use super::input::Input;
use crate::decode_error::DecodeErrorKind;

impl Layout {
    /// Reads a number of four bytes.
    pub(super) fn number(self, input: &mut Input<'_>) -> Result<u32> {
        let bytes = input.array()?;
        Ok(match self {
            Self::Network
            | Self::Native {
                order: Order::Big, ..
            } => u32::from_be_bytes(bytes),
            Self::Native {
                order: Order::Little,
                ..
            } => u32::from_le_bytes(bytes),
        })
    }

    /// Reads the number of values that follow. Each takes at least `each` bytes, so a number that is too
    /// large is an error.
    pub(super) fn length(self, input: &mut Input<'_>, each: usize) -> Result<u32> {
        let at = input.offset();
        let length = self.number(input)?;
        if u64::from(length) * each as u64 > input.left() as u64 {
            return Err(invalid(DecodeErrorKind::Length, at));
        }
        Ok(length)
    }

    /// Reads a native integer.
    pub(super) fn integer(self, input: &mut Input<'_>) -> Result<i64> {
        let Self::Native { order, integer, .. } = self else {
            return Err(invalid(DecodeErrorKind::Number, input.offset()));
        };
        Ok(match (integer, order) {
            (IntegerSize::Four, Order::Little) => i32::from_le_bytes(input.array()?).into(),
            (IntegerSize::Four, Order::Big) => i32::from_be_bytes(input.array()?).into(),
            (IntegerSize::Eight, Order::Little) => i64::from_le_bytes(input.array()?),
            (IntegerSize::Eight, Order::Big) => i64::from_be_bytes(input.array()?),
        })
    }

    /// Reads a native floating-point number.
    pub(super) fn double(self, input: &mut Input<'_>) -> Result<f64> {
        let at = input.offset();
        let refused = || invalid(DecodeErrorKind::Number, at);
        let Self::Native { order, double, .. } = self else {
            return Err(refused());
        };
        match (double, order) {
            (DoubleSize::Eight, Order::Little) => Ok(f64::from_le_bytes(input.array()?)),
            (DoubleSize::Eight, Order::Big) => Ok(f64::from_be_bytes(input.array()?)),
            (DoubleSize::Twelve, Order::Little) => {
                let extended = input.array()?;
                input.array::<2>()?;
                extended_to_double(extended).ok_or_else(refused)
            }
            (DoubleSize::Sixteen, Order::Little) => {
                let extended = input.array()?;
                // Here a quadruple has its exponent, and an extended double has zeros.
                let padding = input.array::<6>()?;
                if padding != [0; 6] {
                    return Err(refused());
                }
                extended_to_double(extended).ok_or_else(refused)
            }
            (DoubleSize::Twelve | DoubleSize::Sixteen, Order::Big) => Err(refused()),
        }
    }
}

/// Returns the double nearest to an extended double of the x87: 64 bits of significand, 15 of
/// exponent, a sign.
fn extended_to_double(bytes: [u8; 10]) -> Option<f64> {
    const EXTENDED_BIAS: i32 = 16_383;
    const DOUBLE_BIAS: i32 = 1_023;
    const INTEGER_BIT: u64 = 1 << 63;
    const HIDDEN_BIT: u64 = 1 << 52;
    const INFINITY: u64 = 0x7ff << 52;

    let [s0, s1, s2, s3, s4, s5, s6, s7, e0, e1] = bytes;
    let significand = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let top = u16::from_le_bytes([e0, e1]);
    let sign = u64::from(top >> 15) << 63;
    let exponent = i32::from(top & 0x7fff) - EXTENDED_BIAS;

    if exponent == -EXTENDED_BIAS {
        // Zero, or too small for a double.
        return Some(f64::from_bits(sign));
    }
    if significand & INTEGER_BIT == 0 {
        return None;
    }
    if exponent > EXTENDED_BIAS {
        let infinite = significand == INTEGER_BIT;
        return Some(if infinite {
            f64::from_bits(sign | INFINITY)
        } else {
            f64::NAN
        });
    }
    if exponent > DOUBLE_BIAS {
        return Some(f64::from_bits(sign | INFINITY));
    }

    // A double has 53 bits, and fewer below its smallest exponent. The result is the nearest double;
    // of two, the even one.
    let subnormal = (1 - DOUBLE_BIAS - exponent).max(0);
    let dropped = 11 + subnormal;
    let magnitude = if dropped > 64 {
        0
    } else {
        let (wide, half) = (u128::from(significand), 1 << (dropped - 1));
        let (kept, rest) = ((wide >> dropped) as u64, wide & (2 * half - 1));
        let rounded = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
        match subnormal {
            // A carry out of the significand increments the exponent, up to infinity.
            0 => (((exponent + DOUBLE_BIAS) as u64) << 52) + (rounded - HIDDEN_BIT),
            _ => rounded,
        }
    };
    Some(f64::from_bits(sign | magnitude))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_double_becomes_the_nearest_double() {
        // Both columns as a C compiler has them for x86.
        let known: [([u8; 10], u64); 15] = [
            (
                *b"\xcd\xcc\xcc\xcc\xcc\xcc\xcc\xfc\x01\x40",
                0x401f_9999_9999_999a,
            ),
            (
                *b"\x00\x00\x00\x00\x00\x00\x00\xc0\xff\xbf",
                0xbff8_0000_0000_0000,
            ),
            (
                *b"\xcd\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xfb\x3f",
                0x3fb9_9999_9999_999a,
            ),
            (
                *b"\x61\x8c\x55\xfe\x23\x83\xba\xd1\xe6\x73",
                0x7ff0_0000_0000_0000,
            ),
            (
                *b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80",
                0x8000_0000_0000_0000,
            ),
            (
                *b"\x00\x00\x00\x00\x00\x00\x00\x80\xff\x7f",
                0x7ff0_0000_0000_0000,
            ),
            (
                *b"\x00\x00\x00\x00\x00\x00\x00\xc0\xff\x7f",
                0x7ff8_0000_0000_0000,
            ),
            (
                *b"\xa3\x7e\x58\x31\x87\x5b\x44\x93\xf9\x3b",
                0x0000_1268_8b70_e62b,
            ),
            (
                *b"\xd9\xce\x4f\x19\xfb\xb4\xe4\xfd\xcc\x3b",
                0x0000_0000_0000_0001,
            ),
            (
                *b"\x4c\xda\x5d\x3d\x59\x3e\xb6\xf8\xcb\x3b",
                0x0000_0000_0000_0000,
            ),
            (
                *b"\x62\x8e\x27\x63\x06\x00\x00\x00\x00\x00",
                0x0000_0000_0000_0000,
            ),
            (
                *b"\xac\xf7\xff\xff\xff\xff\xff\xff\xfe\x43",
                0x7fef_ffff_ffff_ffff,
            ),
            (
                *b"\xb1\xff\xff\xff\xff\xff\xff\xff\xfe\x43",
                0x7ff0_0000_0000_0000,
            ),
            (
                *b"\x00\x04\x00\x00\x00\x00\x00\x80\x34\x40",
                0x4340_0000_0000_0000,
            ),
            (
                *b"\x00\x0c\x00\x00\x00\x00\x00\x80\x34\x40",
                0x4340_0000_0000_0002,
            ),
        ];
        for (extended, double) in known {
            let found = extended_to_double(extended).map(f64::to_bits);
            assert_eq!(found, Some(double), "{extended:x?}");
        }
        assert_eq!(
            extended_to_double(*b"\0\0\0\0\0\0\0\x40\x01\x40"),
            None,
            "no integer bit"
        );
    }

    #[test]
    fn native_numbers_are_converted_from_every_layout_or_refused() {
        let layout = |order, double| Layout::Native {
            order,
            integer: IntegerSize::Eight,
            double,
        };
        let read = |layout: Layout, bytes: &[u8]| layout.double(&mut Input::new(bytes)).ok();
        let x87 = b"\xcd\xcc\xcc\xcc\xcc\xcc\xcc\xfc\x01\x40";
        let quadruple = b"\x9a\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99\xf9\x01\x40";

        assert_eq!(
            read(layout(Order::Big, DoubleSize::Eight), &7.9f64.to_be_bytes()),
            Some(7.9)
        );
        assert_eq!(
            read(
                layout(Order::Little, DoubleSize::Eight),
                &7.9f64.to_le_bytes()
            ),
            Some(7.9)
        );
        assert_eq!(
            read(
                layout(Order::Little, DoubleSize::Twelve),
                &[&x87[..], &[7; 2]].concat()
            ),
            Some(7.9)
        );
        assert_eq!(
            read(
                layout(Order::Little, DoubleSize::Sixteen),
                &[&x87[..], &[0; 6]].concat()
            ),
            Some(7.9)
        );
        assert_eq!(
            read(layout(Order::Little, DoubleSize::Sixteen), quadruple),
            None
        );
        assert_eq!(
            read(layout(Order::Big, DoubleSize::Sixteen), quadruple),
            None
        );
        assert_eq!(read(Layout::Network, &[0; 16]), None);
    }
}
