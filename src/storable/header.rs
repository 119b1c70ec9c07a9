//! The header of an image: its format, and the number layout of the machine that wrote it.

use super::error::{Result, invalid};
use super::input::Input;
use crate::decode_error::DecodeErrorKind;

/// The layout of the numbers in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In network order (`nfreeze`, `nstore`): lengths are big-endian, and there are no native
    /// numbers.
    Network,
    /// In the layout of the machine that wrote the image (`freeze`, `store`).
    Native {
        order: Order,
        integer: IntegerSize,
        double: DoubleSize,
    },
}

/// The end of a number that comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

/// How many bytes a Perl integer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntegerSize {
    Four,
    Eight,
}

/// How many bytes a Perl floating-point number has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoubleSize {
    Eight,
    Twelve,
    Sixteen,
}

/// The format this reader knows: from 2.0 to 2.12.
const MAJOR: u8 = 2;
const NEWEST_MINOR: u8 = 12;

/// The first minor version that contains the size of a floating-point number.
const TELLS_DOUBLE_SIZE: u8 = 2;

/// No Storable writes so high a major version, so these bytes are not an image.
const IMPLAUSIBLE_MAJOR: u8 = 4;

/// Reads the header of an image, with or without the magic number of a file.
pub(super) fn read(input: &mut Input<'_>) -> Result<Layout> {
    if input.skip(b"perl-store") {
        return Err(invalid(DecodeErrorKind::Version, 0));
    }
    input.skip(b"pst0");

    let start = input.offset();
    let first = input.byte()?;
    let (major, network) = (first >> 1, first & 1 == 1);
    match major {
        MAJOR => {}
        IMPLAUSIBLE_MAJOR.. => return Err(invalid(DecodeErrorKind::NotAnImage, start)),
        _ => return Err(invalid(DecodeErrorKind::Version, start)),
    }
    let minor = input.byte()?;
    if minor > NEWEST_MINOR {
        return Err(invalid(DecodeErrorKind::Version, start + 1));
    }
    if network {
        Ok(Layout::Network)
    } else {
        native(input, minor)
    }
}

/// Reads the number layout of the machine that wrote the image.
fn native(input: &mut Input<'_>, minor: u8) -> Result<Layout> {
    let start = input.offset();
    let digits = input.byte()?;
    let (order, integer) = match input.take(usize::from(digits))? {
        b"1234" => (Order::Little, IntegerSize::Four),
        b"4321" => (Order::Big, IntegerSize::Four),
        b"12345678" => (Order::Little, IntegerSize::Eight),
        b"87654321" => (Order::Big, IntegerSize::Eight),
        _ => return Err(invalid(DecodeErrorKind::Machine, start)),
    };

    // The sizes of an int, a long and a pointer, which do not matter.
    for _ in 0..3 {
        let at = input.offset();
        if !matches!(input.byte()?, 4 | 8) {
            return Err(invalid(DecodeErrorKind::Machine, at));
        }
    }

    let at = input.offset();
    let double = match if minor < TELLS_DOUBLE_SIZE {
        8
    } else {
        input.byte()?
    } {
        8 => DoubleSize::Eight,
        12 => DoubleSize::Twelve,
        16 => DoubleSize::Sixteen,
        _ => return Err(invalid(DecodeErrorKind::Machine, at)),
    };
    Ok(Layout::Native {
        order,
        integer,
        double,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout_of(image: &[u8]) -> Result<Layout> {
        read(&mut Input::new(image))
    }

    #[test]
    fn a_header_gives_the_layout_of_its_machine() {
        let native = |order, integer, double| {
            Ok(Layout::Native {
                order,
                integer,
                double,
            })
        };
        use DoubleSize::{Eight as F8, Sixteen as F16, Twelve as F12};
        use IntegerSize::{Eight as I8, Four as I4};
        use Order::{Big, Little};

        let known = [
            (b"\x05\x0b".to_vec(), Ok(Layout::Network)),
            (b"pst0\x05\x06".to_vec(), Ok(Layout::Network)),
            (
                b"pst0\x04\x00\x041234\x04\x04\x04".to_vec(),
                native(Little, I4, F8),
            ),
            (
                b"pst0\x04\x01\x041234\x04\x04\x04".to_vec(),
                native(Little, I4, F8),
            ),
            (
                b"pst0\x04\x02\x041234\x04\x04\x04\x0c".to_vec(),
                native(Little, I4, F12),
            ),
            (
                b"pst0\x04\x04\x041234\x04\x04\x04\x08".to_vec(),
                native(Little, I4, F8),
            ),
            (
                b"pst0\x04\x03\x044321\x04\x04\x04\x08".to_vec(),
                native(Big, I4, F8),
            ),
            (
                b"pst0\x04\x06\x0812345678\x04\x04\x04\x08".to_vec(),
                native(Little, I8, F8),
            ),
            (
                b"pst0\x04\x06\x0887654321\x04\x08\x08\x08".to_vec(),
                native(Big, I8, F8),
            ),
            (
                b"\x04\x0b\x0812345678\x04\x08\x08\x10".to_vec(),
                native(Little, I8, F16),
            ),
            (
                b"\x04\x0b\x041234\x04\x04\x04\x0c".to_vec(),
                native(Little, I4, F12),
            ),
        ];
        for (header, layout) in known {
            assert_eq!(layout_of(&header), layout, "{header:x?}");
        }
    }

    #[test]
    fn a_header_of_another_format_or_machine_is_refused() {
        let refused: [(&[u8], DecodeErrorKind, usize); 14] = [
            (b"", DecodeErrorKind::Truncated, 0),
            (b"pst0", DecodeErrorKind::Truncated, 4),
            (b"perl-store\x041234", DecodeErrorKind::Version, 0),
            (b"perl-store\0\x041234", DecodeErrorKind::Version, 0),
            (b"pst0\x02\x041234\x04\x04\x04", DecodeErrorKind::Version, 4),
            (b"\x03\x03", DecodeErrorKind::Version, 0),
            (b"\x07\x00", DecodeErrorKind::Version, 0),
            (b"\x05\x0d", DecodeErrorKind::Version, 1),
            (b"\x05\xff", DecodeErrorKind::Version, 1),
            (b"{\"a\":1}", DecodeErrorKind::NotAnImage, 0),
            (
                b"\x04\x0b\x043412\x04\x04\x04\x08",
                DecodeErrorKind::Machine,
                2,
            ),
            (
                b"\x04\x0b\xff1234\x04\x04\x04\x08",
                DecodeErrorKind::Truncated,
                11,
            ),
            (
                b"\x04\x0b\x041234\x04\x02\x04\x08",
                DecodeErrorKind::Machine,
                8,
            ),
            (
                b"\x04\x0b\x041234\x04\x04\x04\x04",
                DecodeErrorKind::Machine,
                10,
            ),
        ];
        for (header, kind, offset) in refused {
            assert_eq!(layout_of(header), Err(invalid(kind, offset)), "{header:x?}");
        }
    }
}
