//! A file of JSON Lines in the form of Suricata's EVE, so that what reads Suricata's alerts reads ours.
//!
//! A line is whole or not there: what was written in part is taken back, and what a killed process left without its end
//! is ended. When the file has its size it is renamed to `FILE.1`, that to `FILE.2` and so on; the last goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Failure;
use crate::alert::message::{Message, What};
use crate::alert::settings::EveSettings;

/// One receiver.
pub(crate) struct Eve {
    path: PathBuf,
    bytes_max: u64,
    files_max: u64,
    file: Option<File>,
}

impl Eve {
    pub(super) fn new(settings: &EveSettings) -> Self {
        let bytes_max = settings.mib_max.get() * 1024 * 1024;
        Self { path: settings.path.0.clone(), bytes_max, files_max: settings.files_max.get(), file: None }
    }

    pub(super) fn tell(&mut self, message: &Message) -> Result<(), Failure> {
        let mut line = of(message).to_string();
        line.push('\n');
        self.append(line.as_bytes()).map_err(|error| {
            self.file = None;
            Failure::again(format!("{}: {error}", self.path.display()))
        })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.file.as_ref().is_some_and(|file| is_at(file, &self.path)) {
            self.file = Some(open(&self.path)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let bytes = file.metadata()?.len();
        if bytes > 0 && bytes + line.len() as u64 > self.bytes_max {
            rotate(&self.path, self.files_max)?;
            *file = open(&self.path)?;
        }
        let before = file.metadata()?.len();
        file.write_all(line).inspect_err(|_| {
            // A full disk takes a part: without it, readers see whole lines only.
            let _ = file.set_len(before);
        })
    }
}

/// Whether the file is still the one of this name: somebody else may have set it aside.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (own.dev(), own.ino()) == (there.dev(), there.ino())
}

fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn rotate(path: &Path, files_max: u64) -> io::Result<()> {
    let numbered = |number: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..files_max).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

/// The event.
fn of(message: &Message) -> Value {
    let json = &message.json;
    let target = &json["target"];
    let source = &json["sources"]["top"][0]["addr"];
    let signature_id = json["kind"].as_str().map_or(0, signature_id);
    let mut event = json!({
        "timestamp": time(message.text("ts")),
        "event_type": "alert",
        "src_ip": source, "src_port": 0,
        "dest_ip": target["addr"], "dest_port": target["port"].as_u64().unwrap_or(0),
        "proto": target["proto"].as_str().unwrap_or("IP").to_ascii_uppercase(),
        "alert": {
            "action": "allowed", "gid": 1, "signature_id": signature_id, "rev": 1,
            "signature": format!("tidegauge {} {}", message.text("kind"), message.change.name()),
            "category": category(message),
            "severity": message.severity.index() + 1,
        },
        "tidegauge": json,
    });
    event["tidegauge"]["key"] = message.key.clone().into();
    event
}

fn category(message: &Message) -> &'static str {
    match (message.what, message.text("kind")) {
        (What::Test, _) => "Test",
        (_, kind) if kind.ends_with("_flood") || kind == "land" || kind.ends_with("_reflection") => {
            "Attempted Denial of Service"
        }
        (_, "slow_http" | "udp_amplification") => "Attempted Denial of Service",
        (_, "port_scan" | "host_sweep" | "arp_sweep") => "Detection of a Network Scan",
        (_, "brute_force") => "Attempted User Privilege Gain",
        _ => "Misc activity",
    }
}

/// The same number for the same kind in every version: a hash (FNV-1a) within the range for local rules, 1,000,000 to 1,999,999.
fn signature_id(kind: &str) -> u32 {
    let hash =
        kind.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    1_000_000 + hash % 1_000_000
}

/// Suricata's form: microseconds, and the offset without a colon.
fn time(ts: &str) -> Option<String> {
    let time: Timestamp = ts.parse().ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string())
}

#[cfg(test)]
mod tests {
    use super::super::body::sample;
    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null)).collect()
    }

    fn eve(path: PathBuf, bytes_max: u64) -> Eve {
        Eve { path, bytes_max, files_max: 3, file: None }
    }

    #[test]
    fn an_event_has_the_shape_of_an_alert() {
        let event = of(&sample());
        assert_eq!(event["timestamp"], "2026-01-01T00:00:00.000000+0000");
        assert_eq!((&event["src_ip"], &event["dest_ip"]), (&json!("198.51.100.1"), &json!("192.0.2.1")));
        assert_eq!((&event["dest_port"], &event["proto"]), (&json!(80), &json!("TCP")));
        assert_eq!(event["alert"]["signature"], "tidegauge syn_flood opened");
        assert_eq!(
            (&event["alert"]["severity"], &event["alert"]["category"]),
            (&json!(2), &json!("Attempted Denial of Service"))
        );
        assert_eq!(event["tidegauge"]["id"], "syn_flood-0001");
    }

    #[test]
    fn files_are_set_aside_by_size_and_the_last_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eve.json");
        let length = of(&sample()).to_string().len() as u64 + 1;
        let mut eve = eve(path.clone(), 2 * length);
        for _ in 0..9 {
            eve.tell(&sample()).unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["eve.json", "eve.json.1", "eve.json.2", "eve.json.3"]);
        assert_eq!(lines(&path).len(), 1);
        assert_eq!(lines(&dir.path().join("eve.json.3")).len(), 2);
    }

    #[test]
    fn a_torn_line_is_ended_and_a_file_that_was_moved_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eve.json");
        fs::write(&path, "{\"torn").unwrap();
        let mut eve = eve(path.clone(), 1 << 20);
        eve.tell(&sample()).unwrap();
        let found = lines(&path);
        assert_eq!((found.len(), &found[0], &found[1]["event_type"]), (2, &Value::Null, &json!("alert")));
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        eve.tell(&sample()).unwrap();
        assert_eq!(lines(&path).len(), 1);
    }
}
