//! The address under which a visitor is counted: an IPv4 address, or the network of an IPv6 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns the address under which `address` is counted: an IPv4 address as it is, even if an IPv6
/// address contains it, and otherwise the network of the first 64 bits, which every customer has.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = address.to_canonical() else {
        return address.to_canonical();
    };
    match embedded_ipv4(address) {
        Some(address) => address.into(),
        None => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Returns the IPv4 address inside an IPv6 address that a translator or a tunnel made from it.
///
/// All clients of one translator, or of one Teredo server, share the first 64 bits. In 6to4, the owner
/// of one IPv4 address has 65 536 networks.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let embedded = match address.segments() {
        // NAT64 (<https://www.rfc-editor.org/rfc/rfc6052#section-2.1>)
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => bits,
        // 6to4 (<https://www.rfc-editor.org/rfc/rfc3056#section-2>)
        [0x2002, ..] => bits >> 80,
        // Teredo (<https://www.rfc-editor.org/rfc/rfc4380#section-4>): each bit is inverted.
        [0x2001, 0, ..] => !bits,
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(embedded as u32))
}
