//! `boom-coordinator` as a process: how it is started and waited for, and how it is asked over HTTP and gRPC.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use boom_proto::v1;
use boom_proto::v1::control_service_client::ControlServiceClient;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::node::{Ended, Running, program};

/// How long a call may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a gRPC server is reached: what it wants to see beside its address.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// TLS.
    pub tls: Option<ClientTlsConfig>,
    /// The token.
    pub token: Option<String>,
}

/// Adds the token.
impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().expect("a token is a header's value");
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

impl Credentials {
    /// A connection, which is made with the first call.
    pub fn channel(&self, url: &str) -> InterceptedService<Channel, Self> {
        let endpoint = Endpoint::from_shared(url.to_owned()).expect("an URL");
        let endpoint = endpoint.connect_timeout(Duration::from_secs(2)).timeout(PATIENCE);
        let endpoint = match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone()).expect("a TLS configuration"),
            None => endpoint,
        };
        InterceptedService::new(endpoint.connect_lazy(), self.clone())
    }
}

/// What operators call.
pub type Operator = ControlServiceClient<InterceptedService<Channel, Credentials>>;

/// A coordinator that runs; it is killed when it is dropped.
#[derive(Debug)]
pub struct Coordinator {
    /// Its name.
    pub name: String,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    running: Running,
}

/// The command with that configuration, with nothing of the caller's environment that would change what it does.
pub fn command(arguments: &[&str], directory: &Path, name: &str, toml: &str) -> Command {
    let file = directory.join(format!("{name}.toml"));
    fs::write(&file, toml).expect("a configuration is written");
    let mut command = program("boom-coordinator");
    command.args(arguments).arg("--config").arg(file).env("BOOM_COORDINATOR__NAME", name);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Coordinator {
    /// Starts one with that configuration, on free ports unless it says otherwise; it serves when this returns.
    pub fn start(directory: &Path, name: &str, toml: &str) -> Self {
        let mut command = command(&["run"], directory, name, toml);
        let log = fs::File::options().create(true).append(true).read(true).open(directory.join(format!("{name}.log")));
        let log = log.expect("a log");
        if !toml.contains("listen") {
            command.env("BOOM_COORDINATOR__GRPC__LISTEN", "127.0.0.1:0");
            command.env("BOOM_COORDINATOR__HTTP__LISTEN", "127.0.0.1:0");
        }
        command.stderr(log.try_clone().expect("a file has more than one handle"));
        let mut child = command.spawn().expect("boom-coordinator starts");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut said).expect("its output is read");
        let running = Running { child, log };
        let address = |key: &str| said.split_whitespace().find_map(|word| word.strip_prefix(key)?.parse().ok());
        match (address("grpc="), address("http=")) {
            (Some(grpc), Some(http)) => Self { name: name.to_owned(), grpc, http, running },
            _ => panic!("it does not serve:\n{}", running.wait().stderr),
        }
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.running.child.id()
    }

    /// Its gRPC server as an URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// What operators call, with nothing to show.
    pub fn operator(&self) -> Operator {
        ControlServiceClient::new(Credentials::default().channel(&self.url()))
    }

    /// Status and body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.http, path).expect("it answers")
    }

    /// The value of a metric without labels, or with those that are written out.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Ends it with SIGKILL.
    pub fn kill(self) {
        assert!(self.running.kill(), "it has ended by itself");
    }

    /// Ends it as an operator does.
    pub fn terminate(self) -> Ended {
        self.running.terminate();
        self.running.wait()
    }
}

/// Status and body of a GET.
///
/// # Errors
/// Nobody answers.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
}

/// The leader as one coordinator sees it.
pub async fn leader(coordinator: &Coordinator) -> Option<v1::Leader> {
    let answer = coordinator.operator().who_leads(v1::WhoLeadsRequest {}).await;
    answer.expect("every coordinator answers").into_inner().leader
}
