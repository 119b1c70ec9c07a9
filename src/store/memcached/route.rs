//! The server that has a key: the same in every process, in every version, and for every order of
//! the servers.

use memcache::exp::Router;

/// Rendezvous hashing (Thaler and Ravishankar, 1996) over FNV-1a: a key belongs to the server whose
/// address and the key together have the highest hash. If a server is removed, only its own keys
/// move.
pub(super) struct Route;

impl Router for Route {
    fn route(&self, key: &[u8], servers: &[String]) -> usize {
        let score = |&at: &usize| hash(servers[at].as_bytes(), key);
        (0..servers.len()).max_by_key(score).unwrap_or(0)
    }
}

/// FNV-1a of both parts, with the last step of `MurmurHash3`, by which every bit has an effect.
fn hash(server: &[u8], key: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in server.iter().chain(b" ").chain(key) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{name}:11211")).collect()
    }

    fn key(n: u32) -> String {
        format!("session:{n:032x}")
    }

    #[test]
    fn no_release_moves_a_session() {
        let servers = servers(&["a", "b", "c"]);
        let routed = (0..24).map(|n| Route.route(key(n).as_bytes(), &servers));
        assert_eq!(routed.collect::<Vec<_>>(), GOLDEN);
    }

    const GOLDEN: [usize; 24] = [
        1, 2, 0, 0, 2, 1, 0, 0, 0, 2, 1, 2, 2, 1, 0, 1, 0, 2, 2, 0, 1, 2, 0, 2,
    ];

    #[test]
    fn the_order_has_no_effect_and_a_removed_server_moves_only_its_own_keys() {
        let (all, turned) = (servers(&["a", "b", "c"]), servers(&["c", "a", "b"]));
        let left = servers(&["a", "c"]);
        let mut counts = [0; 3];
        for n in 0..3000 {
            let at = |servers: &[String]| servers[Route.route(key(n).as_bytes(), servers)].clone();
            let here = at(&all);
            assert_eq!(here, at(&turned));
            if here != "b:11211" {
                assert_eq!(here, at(&left));
            }
            counts[all.iter().position(|server| *server == here).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }
}
