//! Files that are right, and what is said of those that are not.

use super::*;

#[test]
fn errors_name_the_line_and_the_reason() {
    let hook = "[[webhook]]\nname = \"ops\"\nurl = \"http://127.0.0.1:1/\"\n";
    for (rest, line, words) in [
        ("urll = 1\n", 4, "unknown field `urll`"),
        ("timeout_ms = 5\n", 4, "must be from 10 to 60000, not 5"),
        ("headers = { \"a b\" = \"c\" }\n", 4, "cannot be a header"),
        ("template = \"{{ incident.sevrity }}\"\n", 4, "undefined"),
        ("secret_file = \"/nowhere/at/all\"\n", 4, "cannot read it"),
        ("limit = { burst = 0 }\n", 4, "must be from 1"),
        ("[[route]]\nreceivers = [\"pager\"]\n", 5, "no receiver is called pager"),
        ("[[route]]\nreceivers = [\"ops\"]\nseverities = [\"P4\"]\n", 6, "unknown variant `P4`"),
        ("[[route]]\nreceivers = [\"ops\"]\nkinds = [\"SYN flood\"]\n", 6, "kinds are written"),
        ("[[route]]\nreceivers = [\"ops\"]\ntargets = [\"10.0.0.0/33\"]\n", 6, "must be an address"),
        (
            "[[route]]\nreceivers = [\"ops\"]\n[route.quiet]\nfrom = \"22:00\"\nto = \"25:00\"\nzone = \"UTC\"\n",
            8,
            "time of day",
        ),
        (
            "[[route]]\nreceivers = [\"ops\"]\n[route.quiet]\nfrom = \"22:00\"\nto = \"07:00\"\nzone = \"Mars/Olympus\"\n",
            9,
            "no time zone is called",
        ),
        (
            "[[route]]\nreceivers = [\"ops\"]\nquiet = { from = \"22:00\", to = \"22:00\", zone = \"UTC\" }\n",
            6,
            "a whole day is",
        ),
        ("[[eve]]\nname = \"ops\"\npath = \"/x\"\n", 5, "two receivers are called ops"),
        ("[[eve]]\nname = \"file\"\npath = \"x\"\n", 6, "begins with `/`"),
        ("[[syslog]]\nname = \"log\"\naddress = \"host\"\ntransport = \"udp\"\n", 6, "HOST:PORT"),
        (
            "[[syslog]]\nname = \"log\"\naddress = \"host:514\"\ntransport = \"udp\"\nca_file = \"/x\"\n",
            8,
            "only transport = \"tls\"",
        ),
        ("[[receiver]]\nname = \"x\"\n", 4, "unknown field `receiver`"),
    ] {
        let error = Settings::from_toml(&format!("{hook}{rest}")).err().unwrap_or_else(|| panic!("{rest}"));
        assert!(error.line == line && error.reason.contains(words), "{rest}: {error}");
    }
    let error = Settings::from_toml("consequences = true\n").err().unwrap();
    assert!(error.reason.starts_with("nobody to tell"), "{error}");
}

#[test]
fn routes_name_receivers_of_all_kinds() {
    let text = r#"
        [[webhook]]
        name = "ops"
        url = "https://[::1]:8443/x"
        [[journald]]
        name = "journal"
        [[exec]]
        name = "hook"
        program = "/bin/true"
        [[route]]
        receivers = ["hook", "ops"]
        severities = ["P1", "P2"]
    "#;
    let settings = Settings::from_toml(text).unwrap();
    let names: Vec<_> = settings.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    let told: Vec<_> = settings.routes[0].receivers.iter().map(|index| names[*index]).collect();
    assert_eq!(told, ["hook", "ops"]);
    assert_eq!((settings.spool_bytes_max, settings.spool_age_max_s), (64 << 20, 86_400));
}

#[test]
fn the_example_is_right() {
    let settings = Settings::from_toml(include_str!("../../../../packaging/alerts.toml")).unwrap();
    assert_eq!((settings.receivers.len(), settings.routes.len()), (8, 3));
}
