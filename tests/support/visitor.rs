//! A visitor with a browser's cookie jar: it sends raw `Cookie` headers and applies `Set-Cookie`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use cookie::Cookie;
use rocket::http::{ContentType, Header, Method, Status};
use rocket::local::asynchronous::Client;

pub(crate) struct Visitor<'a> {
    client: &'a Client,
    address: IpAddr,
    /// The other headers that it sends.
    headers: Vec<(String, String)>,
    jar: Mutex<BTreeMap<String, String>>,
}

/// The response that a visitor gets.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: Status,
    pub(crate) body: String,
    headers: Vec<(String, String)>,
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self {
            client,
            address: [127, 0, 0, 1].into(),
            headers: Vec::new(),
            jar: Mutex::default(),
        }
    }

    /// Another browser with the same cookies, like a thief's.
    pub(crate) fn copy(&self) -> Self {
        Self {
            client: self.client,
            address: self.address,
            headers: self.headers.clone(),
            jar: Mutex::new(self.jar.lock().unwrap().clone()),
        }
    }

    /// The same browser, which sends its requests to another host.
    pub(crate) fn copy_to<'b>(&self, host: &'b super::App) -> Visitor<'b> {
        Visitor {
            client: &host.client,
            address: self.address,
            headers: self.headers.clone(),
            jar: Mutex::new(self.jar.lock().unwrap().clone()),
        }
    }

    /// The same client, which sends a header with every request.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same browser on another network.
    pub(crate) fn copy_at(&self, address: &str) -> Self {
        Self {
            address: address.parse().expect("this is an address"),
            ..self.copy()
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::Get, path, None).await
    }

    /// Sends a request with the current cookies, and stores the cookies of the response.
    pub(crate) async fn send(&self, method: Method, path: &str, form: Option<&str>) -> Response {
        let cookies = self.cookies();
        let mut request = self.client.req(method, path.to_owned());
        request.set_remote((self.address, 4711).into());
        // Rocket's server fills its jar from the header; a local client does not.
        for cookie in cookies
            .split("; ")
            .filter_map(|pair| Cookie::parse_encoded(pair).ok())
        {
            request = request.cookie((cookie.name().to_owned(), cookie.value().to_owned()));
        }
        if !cookies.is_empty() {
            request.add_header(Header::new("Cookie", cookies));
        }
        for (name, value) in &self.headers {
            request.add_header(Header::new(name.clone(), value.clone()));
        }
        if let Some(form) = form {
            request.add_header(ContentType::Form);
            request.set_body(form);
        }
        let response = request.dispatch().await;
        let headers = response.headers().iter();
        let headers = headers
            .map(|h| (h.name().to_string(), h.value().to_owned()))
            .collect();
        let status = response.status();
        let body = response.into_string().await.unwrap_or_default();
        let response = Response {
            status,
            headers,
            body,
        };
        self.obey(&response);
        response
    }

    /// The `Cookie` header that is sent.
    pub(crate) fn cookies(&self) -> String {
        let jar = self.jar.lock().unwrap();
        jar.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn has_session(&self) -> bool {
        self.cookie("id").is_some()
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.jar
            .lock()
            .unwrap()
            .insert(name.to_owned(), value.to_owned());
    }

    fn obey(&self, response: &Response) {
        let mut jar = self.jar.lock().unwrap();
        for header in response.headers("Set-Cookie") {
            let cookie = Cookie::parse(header.to_owned()).expect("a cookie can be parsed");
            match cookie.max_age() {
                Some(age) if age.whole_seconds() <= 0 => drop(jar.remove(cookie.name())),
                _ => drop(jar.insert(cookie.name().to_owned(), cookie.value().to_owned())),
            }
        }
    }
}

impl Response {
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let of_name = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers(name);
        assert!(all.len() < 2, "there is more than one {name}: {all:?}");
        all.first().copied()
    }

    /// The `Set-Cookie` header of the session, if there is one. There is never more than one.
    pub(crate) fn session_cookie(&self) -> Option<Cookie<'_>> {
        let mut all = self
            .headers("Set-Cookie")
            .into_iter()
            .filter(|cookie| cookie.starts_with("id="));
        let first = all
            .next()
            .map(|cookie| Cookie::parse(cookie).expect("a cookie can be parsed"));
        assert!(all.next().is_none(), "a session has one cookie");
        first
    }

    /// Whether the response sets the cookie of a session.
    pub(crate) fn sets_session(&self) -> bool {
        self.session_cookie()
            .is_some_and(|cookie| !cookie.value().is_empty())
    }

    /// Whether the response removes the cookie of a session.
    pub(crate) fn removes_session(&self) -> bool {
        let removal = |cookie: Cookie<'_>| {
            let expires = cookie.expires_datetime().is_some_and(|at| at.year() < 2026);
            cookie.value().is_empty()
                && cookie.max_age().is_some_and(|age| age.is_zero())
                && expires
        };
        self.session_cookie().is_some_and(removal)
    }
}
