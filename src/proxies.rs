//! The address that a request comes from: the peer's, or the one that a trusted proxy reports.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use rocket::Request;

use crate::config::Config;
use crate::error::{Error, Result};

/// The number of addresses in a header that are read, from its end. The visitor may have invented the
/// ones before them.
const HOPS: usize = 32;

/// The networks of the application's proxies, and the header in which they report addresses.
pub(crate) struct Proxies {
    networks: Vec<IpNet>,
    header: String,
    /// Whether that is the standard header (<https://www.rfc-editor.org/rfc/rfc7239>), which reports
    /// more than addresses.
    standard: bool,
}

impl Proxies {
    /// Returns the proxies of `config`.
    ///
    /// # Errors
    ///
    /// When an entry is neither a network nor an address.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let networks = config.proxies.iter().map(|text| {
            let one = || {
                text.parse()
                    .ok()
                    .map(|address: IpAddr| IpNet::from(address))
            };
            text.parse().ok().or_else(one).ok_or_else(|| {
                let why = "one of them is not a network; write each as `10.0.0.0/8` or `fd00::1`";
                Error::config("sessions.proxies", why)
            })
        });
        Ok(Self {
            networks: networks.collect::<Result<_>>()?,
            header: config.ip_header.clone(),
            standard: config.ip_header.eq_ignore_ascii_case("Forwarded"),
        })
    }

    /// Returns the address that `request` comes from, if it comes over a network.
    pub(crate) fn client(&self, request: &Request<'_>) -> Option<IpAddr> {
        let peer = request.remote()?.ip().to_canonical();
        Some(self.behind(peer, request))
    }

    /// Returns the address nearest to `peer` that does not belong to a proxy.
    fn behind(&self, peer: IpAddr, request: &Request<'_>) -> IpAddr {
        let mut nearest = peer;
        if self.networks.is_empty() {
            return nearest;
        }
        // Each proxy adds the address of its peer at the end. So the addresses are read from the end,
        // as long as a proxy added them.
        let lines: Vec<&str> = request.headers().get(&self.header).collect();
        let elements = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for element in elements.take(HOPS) {
            if !self
                .networks
                .iter()
                .any(|network| network.contains(&nearest))
            {
                break;
            }
            let reported = match self.standard {
                true => forwarded_for(element).and_then(address),
                false => address(element.trim()),
            };
            match reported {
                Some(address) => nearest = address.to_canonical(),
                None => break,
            }
        }
        nearest
    }
}

/// Returns the value of `for` in an element of the standard header.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_for = name.trim().eq_ignore_ascii_case("for");
        is_for.then(|| value.trim().trim_matches('"'))
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
