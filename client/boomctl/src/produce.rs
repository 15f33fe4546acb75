//! `boomctl produce`: an archive to Kafka, as a survey sends it.
//!
//! How packets are sent, and how a run that was killed goes on, is in `boom_client::produce`; reading archives is in `archive.rs`.

mod archive;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use boom_client::produce::{ProduceConfig, Sender};
use clap::Args;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::output;
use crate::settings::{KafkaArgs, wait};
use archive::{Archive, Packet};

/// Packets that are read ahead.
const AHEAD: usize = 64;

/// Send an archive of alert packets to a Kafka topic, as a survey would.
///
/// Each file of the archive or directory is one message, its bytes as they are, without a key; packet N goes to partition N modulo their
/// number. Headers say which archive and packet a message is, so the same command goes on where an earlier one was killed or stopped, and
/// sends nothing twice.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// An archive (.tar, .tar.gz), a directory, or one packet
    archive: PathBuf,
    /// The topic; it is made if it is missing
    #[arg(long)]
    topic: String,
    /// Send at most so many packets a second [default: as fast as Kafka takes them]
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Partitions of the topic [default: those that it has; 8 if it is made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    partitions: Option<u16>,
    /// Send it once more, under that name: the same archive is sent once under each name
    #[arg(long, value_name = "NAME", default_value = "")]
    run: String,
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && (1e-3..=1e6).contains(rate));
    rate.ok_or_else(|| "write a number from 0.001 to 1000000".to_owned())
}

/// What was done.
#[derive(Debug, Default)]
struct Done {
    there: u64,
    sent: u64,
    stopped: bool,
}

impl ProduceArgs {
    /// Sends it.
    ///
    /// # Errors
    /// The archive can not be read, or Kafka does not take it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let archive = Archive::open(&self.archive)?;
        let identity = archive.identity(&self.run)?;
        let connection = self.kafka.kafka()?.connection;
        let config =
            ProduceConfig { connection, topic: self.topic.clone(), partitions: self.partitions, archive: identity };
        let (json, topic) = (self.json, self.topic);
        let (done, partitions) = wait(async {
            let mut sender = Sender::open(config).await?;
            let done = send(&mut sender, archive, self.rate).await?;
            Ok((done, sender.partitions()))
        })?;
        if json {
            output::line(&json!({
                "topic": topic, "partitions": partitions, "sent": done.sent, "there_before": done.there, "stopped": done.stopped,
            }))?;
        } else {
            output::text(&format!(
                "{} packets sent to {topic} ({partitions} partitions), {} were there before",
                done.sent, done.there
            ))?;
        }
        if done.stopped {
            writeln!(io::stderr(), "stopped; the same command goes on")?;
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn send(sender: &mut Sender, archive: Archive, rate: Option<f64>) -> anyhow::Result<Done> {
    let (tell, mut packets) = mpsc::channel(AHEAD);
    // It ends when nobody takes its packets any more.
    let reading = std::thread::spawn(move || archive.read(|packet| tell.blocking_send(packet).is_ok()));
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    let (begun, mut shown, mut done) = (Instant::now(), Instant::now(), Done::default());
    let mut number = 0;
    loop {
        let packet: Packet = tokio::select! {
            biased;
            _ = &mut stop => { done.stopped = true; break }
            packet = packets.recv() => match packet { Some(packet) => packet, None => break },
        };
        if sender.has(number) {
            done.there += 1;
        } else {
            if let Some(rate) = rate {
                tokio::select! {
                    biased;
                    _ = &mut stop => { done.stopped = true; break }
                    () = sleep_until(begun + Duration::from_secs_f64(done.sent as f64 / rate)) => {}
                }
            }
            tokio::select! {
                biased;
                sent = sender.send(number, &packet.name, &packet.bytes) => sent?,
                _ = &mut stop => { done.stopped = true; break }
            }
            done.sent += 1;
        }
        number += 1;
        if shown.elapsed() > Duration::from_secs(1) {
            shown = Instant::now();
            show(&done, begun.elapsed())?;
        }
    }
    drop(packets);
    sender.finish().await?;
    done.sent = sender.delivered();
    let read = reading.join().expect("reading an archive does not panic");
    if !done.stopped {
        read?;
    }
    Ok(done)
}

/// How far it is, for who looks.
fn show(done: &Done, since: Duration) -> anyhow::Result<()> {
    if io::stderr().is_terminal() {
        let rate = done.sent as f64 / since.as_secs_f64().max(1e-3);
        write!(io::stderr(), "\r{} packets sent, {rate:.0}/s \r", done.sent)?;
    }
    Ok(())
}
