//! What people type, and what help promises them.

use super::*;

fn parsed(line: &str) -> Result<Verb, clap::Error> {
    parse(line.split_whitespace().map(OsString::from))
}

fn overrides(line: &str) -> AgentOverrides {
    match parsed(line) {
        Ok(Verb::Run(args)) => args.settings.overrides(),
        other => unreachable!("{line} is no run: {other:?}"),
    }
}

#[test]
fn run_is_the_default_verb_and_takes_the_old_tools_flag() {
    let flags = "--grpc.server-address=10.0.0.1:6001 --remote-write.url=http://tsdb:9090/api/v1/write";
    let short = overrides(&format!("xprober-agent {flags}"));
    assert_eq!(short, overrides(&format!("xprober-agent run {flags}")));
    let address = short.grpc_server_address.unwrap();
    assert_eq!(address.value, "10.0.0.1:6001");
    assert_eq!(address.origin, "--grpc.server-address");
}

#[test]
fn variables_are_named_after_their_flags() {
    let mut command = command();
    command.build();
    let mut seen = 0;
    for argument in command.get_arguments() {
        let Some(env) = argument.get_env() else { continue };
        assert_eq!(env.to_str().unwrap(), variable(argument.get_long().unwrap()));
        seen += 1;
    }
    assert_eq!(seen, 11);
}

#[test]
fn bad_usage_is_refused() {
    for line in [
        "xprober-agent --no-such-flag",
        "xprober-agent dance",
        "xprober-agent http",
        "xprober-agent ping",
        "xprober-agent ping $(id)",
        "xprober-agent ping 1.2.3 --count=0",
        "xprober-agent http ftp://x/",
        "xprober-agent http http://x/ --timeout=0s",
        "xprober-agent --log.level=loud",
        "xprober-agent --region=a check",
    ] {
        assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn help_is_what_we_promise() {
    for verb in ["", "run", "check", "ping", "http"] {
        let help = parsed(&format!("xprober-agent {verb} --help")).unwrap_err();
        let text = help.to_string();
        insta::assert_snapshot!(format!("help_{}", if verb.is_empty() { "agent" } else { verb }), text);
    }
}
