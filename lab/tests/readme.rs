//! What the README tells people to type exists, and so does every file that it points to.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::fs;
use std::process::Command;

use xprober_lab::process::find;

fn read(path: &str) -> String {
    fs::read_to_string(find::repository().join(path)).unwrap()
}

/// Help of every verb of one of our programs.
fn help(program: &str, verbs: &[&str]) -> String {
    let run = |arguments: &[&str]| {
        let output = Command::new(find::own_program(program).unwrap())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut text = run(&["--help"]);
    for verb in verbs {
        text.push_str(&run(&[verb, "--help"]));
    }
    text
}

const FLAGS_OF_PROMETHEUS: [&str; 2] = ["--web.enable-remote-write-receiver", "--enable-feature"];

fn flags(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)));
    words
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(|word| word.trim_end_matches('.'))
}

#[test]
fn every_flag_in_the_readme_is_in_the_help() {
    let planner = help("xprober-planner", &["run", "check", "plan"]);
    let agent = help("xprober-agent", &["run", "check", "ping", "http", "metrics"]);
    let lab = help("xprober-lab", &["demo"]);
    let mut seen = 0;
    let text = read("README.md");
    // Arrows of the drawing and rules of tables are no flags.
    for line in text
        .lines()
        .filter(|line| !line.contains("-->") && !line.contains("---"))
    {
        for flag in flags(line).filter(|flag| !FLAGS_OF_PROMETHEUS.contains(flag)) {
            seen += 1;
            let known = [&planner, &agent, &lab].iter().any(|help| help.contains(flag));
            assert!(known, "no program knows {flag}: {line}");
            for (program, help) in [("xprober-planner", &planner), ("xprober-agent", &agent)] {
                let alone = line.contains(program) && line.matches("xprober-").count() == 1;
                assert!(!alone || help.contains(flag), "{program} does not know {flag}: {line}");
            }
        }
    }
    assert!(seen > 5, "the search finds only {seen} flags");
}

#[test]
fn every_make_command_in_the_documents_exists() {
    let makefile = read("Makefile");
    let mut seen = 0;
    for document in ["README.md", "CONTRIBUTING.md"] {
        let text = read(document);
        for after in text.split("make ").skip(1) {
            let part_of_name = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
            let name: String = after.chars().take_while(part_of_name).collect();
            if text.contains(&format!("`make {name}")) || text.contains(&format!("\nmake {name}")) {
                seen += 1;
                assert!(makefile.contains(&format!("\n{name}:")), "{document}: make {name}");
            }
        }
    }
    assert!(seen > 8, "the search finds only {seen} commands");
}

#[test]
fn every_linked_file_exists() {
    for document in ["README.md", "CONTRIBUTING.md", "grafana/README.md"] {
        let folder = find::repository().join(document);
        let folder = folder.parent().unwrap();
        for link in read(document)
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = link.split('#').next().unwrap();
            let outside = path.is_empty() || path.starts_with("http");
            assert!(outside || folder.join(path).exists(), "{document} links to {link}");
        }
    }
}
