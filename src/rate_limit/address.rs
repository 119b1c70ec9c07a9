//! Where a request comes from: the peer, or what a proxy that is trusted says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use rocket::Request;

use crate::config::RateLimitConfig;
use crate::error::{Error, Result};

/// How many addresses of a header are looked at. What is before them is the visitor's own claim.
const HOPS: usize = 32;

/// The networks of the application's proxies, and the header that they tell addresses in.
pub(super) struct Proxies {
    networks: Vec<IpNet>,
    header: String,
    /// Whether that is the standard one (<https://www.rfc-editor.org/rfc/rfc7239>), which tells more
    /// than addresses.
    standard: bool,
}

impl Proxies {
    /// Returns those of `config`.
    ///
    /// # Errors
    ///
    /// When one of them is no network and no address.
    pub(super) fn new(config: &RateLimitConfig) -> Result<Self> {
        let networks = config.proxies.iter().map(|text| {
            let one = || {
                text.parse()
                    .ok()
                    .map(|address: IpAddr| IpNet::from(address))
            };
            text.parse().ok().or_else(one).ok_or_else(|| {
                let why = "one of them is no network; write each as `10.0.0.0/8` or `fd00::1`";
                Error::config("sessions.rate_limit.proxies", why)
            })
        });
        Ok(Self {
            networks: networks.collect::<Result<_>>()?,
            header: config.ip_header.clone(),
            standard: config.ip_header.eq_ignore_ascii_case("Forwarded"),
        })
    }

    /// Returns what the request's sender is counted as: its address of IPv4, or the first 64 bits of
    /// one of IPv6, which are what one customer has at least.
    pub(super) fn sender(&self, request: &Request<'_>) -> Option<IpAddr> {
        let peer = request.remote()?.ip().to_canonical();
        Some(network_of(self.beyond(peer, request)))
    }

    /// Returns the last address on the way that is not a proxy's.
    fn beyond(&self, peer: IpAddr, request: &Request<'_>) -> IpAddr {
        let mut nearest = peer;
        if self.networks.is_empty() {
            return nearest;
        }
        // Each proxy adds the address that it saw at the end. From there on they are believed as
        // long as it was a proxy that said so.
        let lines: Vec<&str> = request.headers().get(&self.header).collect();
        let said = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for said in said.take(HOPS) {
            if !self
                .networks
                .iter()
                .any(|network| network.contains(&nearest))
            {
                break;
            }
            let told = match self.standard {
                true => told_in(said).and_then(address),
                false => address(said.trim()),
            };
            match told {
                Some(address) => nearest = address.to_canonical(),
                None => break,
            }
        }
        nearest
    }
}

/// Returns whom an element of the standard header says the request came from.
fn told_in(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("for");
        is_it.then(|| value.trim().trim_matches('"'))
    })
}

/// Reads an address, with or without a port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text).parse().ok().or_else(|| {
        let with_port: Option<SocketAddr> = text.parse().ok();
        with_port.map(|address| address.ip())
    })
}

/// Returns what an address is counted as: one of IPv4 as itself, also where IPv6 carries it, else the
/// network of its first 64 bits.
fn network_of(address: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = address.to_canonical() else {
        return address.to_canonical();
    };
    match carried(address) {
        Some(address) => address.into(),
        None => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Returns the address of IPv4 behind one that a translator or a tunnel made of it. All clients of
/// one translator, or of one Teredo server, have the first 64 bits in common, and whoever has an
/// address of IPv4 has 65 536 networks in 6to4.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let carried = match address.segments() {
        // NAT64 (<https://www.rfc-editor.org/rfc/rfc6052#section-2.1>)
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => bits,
        // 6to4 (<https://www.rfc-editor.org/rfc/rfc3056#section-2>)
        [0x2002, ..] => bits >> 80,
        // Teredo (<https://www.rfc-editor.org/rfc/rfc4380#section-4>): each bit is inverted.
        [0x2001, 0, ..] => !bits,
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(carried as u32))
}
