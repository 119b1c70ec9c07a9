//! The page to go on to after a log-in, which is always one of this site.

use rocket::http::uri::Origin;
use rocket::uri;

use crate::home;

/// Returns `next` if it is a path of this site, and else the home page.
///
/// A browser takes `//host` and `/\host` for another site, so the text is parsed and written anew.
pub fn local_path(next: Option<&str>) -> Origin<'static> {
    let path = next.filter(|next| !next.contains(['\\', '\t', '\r', '\n']));
    let path = path.and_then(|next| Origin::parse_owned(next.to_owned()).ok());
    let path = path.map(Origin::into_normalized);
    path.unwrap_or_else(|| uri!(home::show(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_site_is_kept() {
        for path in ["/", "/sessions", "/admin/sessions?page=2&q=ada", "/live"] {
            assert_eq!(local_path(Some(path)), path);
        }
    }

    #[test]
    fn no_text_leads_to_another_site() {
        let others = [
            "https://evil.example/",
            "//evil.example/",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "javascript:alert(1)",
            "evil.example",
            "",
        ];
        for other in others {
            let path = local_path(Some(other)).to_string();
            let second = path.chars().nth(1);
            assert!(
                path.starts_with('/') && !matches!(second, Some('/' | '\\')),
                "{other}"
            );
        }
        assert_eq!(local_path(None), "/");
    }
}
