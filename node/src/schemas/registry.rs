//! The protocol of schema registries over HTTP/1.1: a schema by its id, with all that it refers to. No retries, nothing remembered.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boom_client::secret::{Secret, Unreadable};
use boom_sky::schema::decoder::SchemaDocuments;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::config::Schemas as Settings;

/// Bytes of an answer, and of all that belongs to one schema.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Documents that one schema may be made of.
const MAX_DOCUMENTS: usize = 256;

/// One question may take so long, with its connection.
const ANSWER: Duration = Duration::from_secs(10);

/// Why there is no registry to ask.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its address.
    #[error(
        "`schemas.registry` is `{0}`, which is no address of a registry: give http://HOST:PORT or https://HOST:PORT, the user apart"
    )]
    Address(String),
    /// User and password.
    #[error("`schemas.user` and `schemas.password` belong together: give both, or none")]
    User,
    /// The password can not be read.
    #[error(transparent)]
    Password(#[from] Unreadable),
    /// The certificates can not be used.
    #[error("`schemas.authority`: the certificates {path} can not be used: {problem}")]
    Authority {
        /// Where they are.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The directory of the cache can not be used.
    #[error("the directory of schemas {path} can not be made: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same may succeed later: all of it is to be mended first.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The registry answers, and has no schema that can be used.
    #[error("{0}")]
    Missing(String),
    /// It does not answer as it should: that may end.
    #[error("{0}")]
    Away(String),
}

/// A registry.
#[derive(Debug)]
pub(super) struct Registry {
    /// Without a slash at the end.
    base: String,
    host: String,
    port: u16,
    tls: Option<Tls>,
    login: Option<(String, Secret)>,
}

struct Tls(TlsConnector, ServerName<'static>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// What the registry says of a schema.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    schema: String,
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    subject: String,
    version: u32,
}

impl Registry {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let base = settings.registry.trim_end_matches('/').to_owned();
        let wrong = || Error::Address(settings.registry.rsplit('@').next().unwrap_or_default().to_owned());
        let uri: Uri = base.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(host), None) = (uri.scheme_str(), uri.host(), uri.query()) else { return Err(wrong()) };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong());
        }
        let host = host.trim_matches(['[', ']']).to_owned();
        let (secure, port) = match scheme {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err(wrong()),
        };
        let name = || ServerName::try_from(host.clone()).map_err(|_| wrong());
        let tls = if secure { Some(Tls(connector(settings.authority.as_deref())?, name()?)) } else { None };
        let login = match (settings.user.as_str(), &settings.password) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(Error::User),
            (user, Some(password)) => {
                password.read("the password of the schema registry")?;
                Some((user.to_owned(), password.clone()))
            }
        };
        Ok(Self { base, host, port: uri.port_u16().unwrap_or(port), tls, login })
    }

    /// The schema with an id, behind all that it refers to.
    pub(super) async fn schema(&self, id: u32, within: Duration) -> Result<SchemaDocuments, Failure> {
        let asked = tokio::time::timeout(within.max(Duration::from_secs(1)), self.documents(id)).await;
        asked.unwrap_or_else(|_| {
            Err(Failure::Away(format!("the schema registry {} has not answered in time", self.base)))
        })
    }

    async fn documents(&self, id: u32) -> Result<SchemaDocuments, Failure> {
        let answer = self.ask(&format!("/schemas/ids/{id}")).await?;
        let (mut bytes, mut seen) = (answer.schema.len(), HashSet::new());
        let (mut documents, mut left) = (vec![answer.schema], answer.references);
        while let Some(Reference { subject, version }) = left.pop() {
            if !seen.insert((subject.clone(), version)) {
                continue;
            }
            let named = utf8_percent_encode(&subject, NON_ALPHANUMERIC);
            let answer = self.ask(&format!("/subjects/{named}/versions/{version}")).await?;
            bytes += answer.schema.len();
            documents.push(answer.schema);
            left.extend(answer.references);
            if bytes > MAX_BYTES || documents.len() > MAX_DOCUMENTS {
                return Err(Failure::Missing(format!(
                    "the schema {id} of {} has more than {MAX_BYTES} bytes or {MAX_DOCUMENTS} documents",
                    self.base
                )));
            }
        }
        // The schema itself stands last.
        documents.reverse();
        Ok(documents)
    }

    async fn ask(&self, path: &str) -> Result<Answer, Failure> {
        let said = |problem: &str| format!("the schema registry answers {}{path} with {problem}", self.base);
        let away = |problem: String| Failure::Away(format!("{}{path} can not be asked: {problem}", self.base));
        let got = tokio::time::timeout(ANSWER, self.get(path)).await;
        let (status, body) = got.map_err(|_| away(format!("no answer within {ANSWER:?}")))?.map_err(away)?;
        if status == StatusCode::NOT_FOUND {
            return Err(Failure::Missing(said("404: there is no such schema")));
        }
        if status != StatusCode::OK {
            return Err(Failure::Away(said(&status.to_string())));
        }
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| Failure::Missing(said(&format!("no schema: {error}"))))?;
        match answer.schema_type.as_deref() {
            None | Some("AVRO") => Ok(answer),
            Some(other) => Err(Failure::Missing(said(&format!("a schema of type {other:.20}, where AVRO is read")))),
        }
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Vec<u8>), String> {
        let request = self.request(path)?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| error.to_string())?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(Tls(connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(|error| error.to_string())?;
                exchange(stream, request).await
            }
        }
    }

    fn request(&self, path: &str) -> Result<Request<Body>, String> {
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|_| "it is no address".to_owned())?;
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let origin = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let accepted = "application/vnd.schemaregistry.v1+json, application/json";
        let mut request = Request::get(origin).header(header::HOST, authority).header(header::ACCEPT, accepted);
        if let Some((user, password)) = &self.login {
            let password = password.read("the password of the schema registry").map_err(|error| error.to_string())?;
            let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            request = request.header(header::AUTHORIZATION, login);
        }
        request.body(Body::empty()).map_err(|error| error.to_string())
    }
}

/// One question and its answer over a connection of its own.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Result<(StatusCode, Vec<u8>), String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let asked = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), MAX_BYTES).await;
        let body = body.map_err(|error| format!("its answer is cut, or longer than {MAX_BYTES} bytes: {error}"))?;
        Ok((status, body.to_vec()))
    };
    tokio::pin!(asked);
    // The connection moves only as long as it is polled; when it ends first, the answer says what became of it.
    tokio::select! {
        answer = &mut asked => answer,
        _ = connection => asked.await,
    }
}

fn connector(authority: Option<&Path>) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore::empty();
    match authority {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let failed = |problem: String| Error::Authority { path: path.to_owned(), problem };
            let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| failed(error.to_string()))?;
                roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(failed("there is none in it".to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
