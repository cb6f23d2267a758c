//! What the provisioning files start exists: every flag is known to its program.

use std::fs;
use std::process::Command;

use xprober_lab::process::find;

/// Files with flags, the program that takes them, and how it tells its flags.
const FILES: [(&str, &str, &str); 3] = [
    ("prometheus/prometheus.default", "prometheus", "--help"),
    ("victoria-metrics/victoria-metrics.default", "victoria-metrics", "-help"),
    ("victoria-metrics/vmalert.service", "vmalert", "-help"),
];

#[test]
fn every_flag_of_the_provisioning_files_is_known_to_its_program() {
    for (file, program, help) in FILES {
        let path = find::repository().join("grafana/provisioning").join(file);
        let text = fs::read_to_string(path).unwrap();
        let output = Command::new(find::tool(program).unwrap()).arg(help).output().unwrap();
        let known = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("ExecReload"));
        let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || c == '"'));
        let flags: Vec<_> = words
            .filter(|word| word.starts_with('-'))
            .filter_map(|word| word.split('=').next())
            .collect();
        assert!(flags.len() >= 3, "{file}: {flags:?}");
        for flag in flags {
            let listed = known.lines().any(|line| {
                let mut words = line.trim_start().split(|c: char| c.is_whitespace() || c == '=');
                words.next() == Some(flag)
                    || line
                        .trim_start()
                        .starts_with(&format!("--[no-]{}", flag.trim_start_matches('-')))
            });
            assert!(listed, "{program} does not know {flag} of {file}");
        }
    }
}
