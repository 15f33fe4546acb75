//! The configuration: checked, printed, refused.

use std::path::Path;

use boom_tests::coordinator::command;
use boom_tests::node::Ended;

#[test]
fn a_configuration_is_checked_and_all_of_its_problems_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let check =
        |toml: &str| -> Ended { command(&["config", "check"], directory.path(), "c", toml).output().unwrap().into() };
    check("").expect(0);
    let wrong = "colour = 1\n[grpc]\nlisten = '0.0.0.0:7700'\n[streams.ztf]\nsurvey = 'ZTF'\ncluster = 'k'\ntopics = 'a{'\nstart = 'now'\n";
    let parts =
        ["`colour`", "set `grpc.tls` and `grpc.token` too", "`streams.ztf.cluster`", "`streams.ztf.start`", "`a{`"];
    check(wrong).expect(2).says(&parts);
    let run: Ended = command(&["run"], directory.path(), "c", wrong).output().unwrap().into();
    run.expect(2).says(&parts);
    let missing: Ended = command(&["run", "--config", "none.toml"], directory.path(), "c", "").output().unwrap().into();
    missing.expect(2);
    let token = "[grpc]\nlisten = '127.0.0.1:0'\ntoken = { file = '/none' }\n[http]\nlisten = '127.0.0.1:0'\n";
    let run: Ended = command(&["run"], directory.path(), "c", token).output().unwrap().into();
    run.expect(1).says(&["the token of the gRPC server can not be read from /none"]);
}

#[test]
fn the_default_configuration_is_printed_and_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let printed =
        std::process::Command::new(boom_tests::node::binary("boom-coordinator")).arg("config").output().unwrap();
    let printed = Ended::from(printed);
    check_default(directory.path(), &printed.expect(0).stdout);
}

fn check_default(directory: &Path, toml: &str) {
    let checked: Ended = command(&["config", "check"], directory, "default", toml).output().unwrap().into();
    checked.expect(0);
}
