//! The bearer token that clients show, if the configuration asks for one.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// What clients have to show. It is shown nowhere.
#[derive(Clone, Default)]
pub struct Token(Option<Arc<str>>);

impl Token {
    /// Clients have to show this; with none, nothing.
    pub fn new(token: Option<String>) -> Self {
        Self(token.map(Arc::from))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Token(is asked for)" } else { "Token(none)" })
    }
}

impl Interceptor for Token {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = &self.0 else { return Ok(request) };
        let shown = request.metadata().get("authorization").map(|value| value.as_bytes());
        let shown = shown.and_then(|shown| shown.strip_prefix(b"Bearer "));
        let is_right = shown.is_some_and(|shown| shown.ct_eq(expected.as_bytes()).into());
        let why = match (is_right, shown) {
            (true, _) => return Ok(request),
            (false, Some(_)) => "the token is not the one of this coordinator",
            (false, None) => "this coordinator asks for a token: send the metadata `authorization: Bearer TOKEN`",
        };
        Err(Status::unauthenticated(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Option<&str>) -> Result<(), String> {
        let mut request = Request::new(());
        if let Some(value) = value {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        let answer = Token::new(Some("s3cret".to_owned())).call(request);
        answer.map(drop).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn only_the_token_opens() {
        shown(Some("Bearer s3cret")).unwrap();
        for wrong in ["Bearer s3cres", "Bearer s3cret ", "Bearer ", "bearer s3cret", "s3cret", "Basic s3cret"] {
            assert!(shown(Some(wrong)).unwrap_err().contains("token"), "{wrong}");
        }
        assert!(shown(None).unwrap_err().contains("authorization: Bearer TOKEN"));
        Token::default().call(Request::new(())).unwrap();
        assert!(!format!("{:?}", Token::new(Some("s3cret".to_owned()))).contains("s3cret"));
    }
}
