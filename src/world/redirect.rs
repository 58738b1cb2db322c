//! Redirects of requests that ask to follow them.

use reqwest::Url;

use super::{Method, Reply, Request};

/// A request that may be redirected.
pub(super) struct Next(Request);

/// Keeps what the request after a redirect needs. `None` if no redirect is followed.
pub(super) fn after(request: &Request) -> Option<Next> {
    (request.redirects > 0).then(|| Next(request.clone()))
}

impl Next {
    /// The request to which a reply leads, if it is a redirect to a URL of HTTP without a login.
    ///
    /// Another server gets neither the headers nor the `Host` of the first one: they can be secrets.
    pub(super) fn to(self, reply: &Reply) -> Option<Request> {
        let place = reply.header("location").filter(|_| reply.is_redirect())?;
        let old = Url::parse(&self.0.url).ok()?;
        let new = old.join(place).ok()?;
        let is_http = matches!(new.scheme(), "http" | "https");
        if !is_http || !new.username().is_empty() || new.password().is_some() {
            return None;
        }
        let mut request = Request { redirects: self.0.redirects - 1, ..self.0 };
        if old.origin() != new.origin() {
            request.headers.clear();
            request.host = None;
        }
        let keeps_method = matches!(reply.status, 307 | 308) || request.method == Method::Head;
        if !keeps_method {
            request.method = Method::Get;
            request.body = None;
        }
        request.url = new.into();
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secret;

    fn follow(status: u16, place: &str, request: &Request) -> Option<Request> {
        let headers = [("location".to_owned(), place.to_owned())].into();
        after(request)?.to(&Reply { status, headers, ..Reply::default() })
    }

    fn request() -> Request {
        Request {
            redirects: 2,
            method: Method::Post,
            headers: vec![("x-key".into(), Secret::new("k"))],
            host: Some("app.example".into()),
            ..Request::get("http://10.0.0.1:80/ping", Duration::from_secs(1))
        }
    }

    #[test]
    fn redirect_on_the_same_server_keeps_the_headers() {
        let next = follow(301, "/health", &request()).expect("followed");
        assert_eq!((next.url.as_str(), next.redirects), ("http://10.0.0.1/health", 1));
        assert_eq!((next.headers.len(), next.host.as_deref()), (1, Some("app.example")));
        assert_eq!(next.method, Method::Get, "as every client does");
        assert_eq!(follow(307, "/health", &request()).expect("followed").method, Method::Post);
    }

    #[test]
    fn another_server_gets_no_header() {
        for place in ["https://10.0.0.1/ping", "http://10.0.0.1:81/", "//other/"] {
            let next = follow(302, place, &request()).expect("followed");
            assert!(next.headers.is_empty() && next.host.is_none(), "{place}");
        }
    }

    #[test]
    fn other_replies_lead_nowhere() {
        for (status, place) in
            [(200, "/health"), (304, "/"), (301, "file:///etc/passwd"), (301, "http://me:pw@h/")]
        {
            assert!(follow(status, place, &request()).is_none(), "{status} {place}");
        }
        assert!(follow(301, "/", &Request { redirects: 0, ..request() }).is_none());
    }
}
