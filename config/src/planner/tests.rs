use super::*;

const OLD_FILE: &str = include_str!("../../xprober.yml");

#[test]
fn the_file_of_the_old_server_loads_unchanged() {
    let settings = PlannerSettings::parse("xprober.yml", OLD_FILE).unwrap();
    assert_eq!(settings.rpc_listen_addr, "[::]:6001".parse().unwrap());
    assert_eq!(settings.metrics_listen_addr, "[::]:6002".parse().unwrap());
    let [target] = settings.targets.as_slice() else {
        panic!("{:?}", settings.targets);
    };
    assert_eq!(target.name, "http://yourdomain.com/api/xxx/xxx");
    assert_eq!(target.region, "region2".parse().unwrap());
    assert_eq!(target.probe.kind(), ProbeKind::Http);
    assert_eq!(target.interval, Duration::from_secs(15));
    assert_eq!(target.timeout, Duration::from_secs(5));
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "\n", "# nothing\n", "---\n", "~", "{}"] {
        assert_eq!(PlannerSettings::parse("planner.yml", text).err(), None, "{text:?}");
    }
}
