//! Bodies of webhooks: the line as it is, or a template. What a template prints into JSON is JSON, quotes included.

use std::sync::Arc;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context, escape_formatter};
use serde_json::json;

use crate::alert::message::{Change, Message, Severity, What};

/// Steps of a template's interpreter: a loop without an end ends here.
const FUEL: u64 = 1_000_000;
/// Longest body.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What is sent.
#[derive(Clone, Debug, Default)]
pub(crate) enum Body {
    /// The line.
    #[default]
    Line,
    /// What a template makes of it.
    Template(Arc<Environment<'static>>),
}

impl Body {
    /// Takes a template and tries it with an incident.
    pub(crate) fn template(template: String, is_json: bool) -> Result<Self, String> {
        let mut environment = Environment::new();
        let escape = if is_json { AutoEscape::Json } else { AutoEscape::None };
        environment.set_auto_escape_callback(move |_| escape);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(|out, state, value| {
            // What one incident has and another has not: nothing, in the language of the body.
            let is_json = state.auto_escape() == AutoEscape::Json;
            let nothing = Value::from(());
            escape_formatter(out, state, if value.is_undefined() && is_json { &nothing } else { value })
        });
        environment.add_template_owned("body", template).map_err(|error| words(&error))?;
        tried(&environment, &sample(), is_json)?;
        // Kinds of incidents differ in their facts, and some have no target: no reason to say nothing.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        tried(&environment, &Message::test("run", 0), is_json)?;
        Ok(Self::Template(Arc::new(environment)))
    }

    /// The body for a message; where a template fails, the line: that is better than nothing.
    pub(crate) fn of(&self, message: &Message) -> String {
        match self {
            Self::Line => message.line.clone(),
            Self::Template(environment) => render(environment, message)
                .ok()
                .filter(|body| body.len() <= BODY_BYTES_MAX)
                .unwrap_or_else(|| message.line.clone()),
        }
    }
}

fn tried(environment: &Environment<'_>, message: &Message, is_json: bool) -> Result<(), String> {
    let body = render(environment, message).map_err(|error| words(&error))?;
    if is_json && let Err(error) = serde_json::from_str::<serde_json::Value>(&body) {
        return Err(format!(
            "it does not make JSON ({error}): values are printed with their quotes, so write {{{{ text }}}} and not \"{{{{ text }}}}\""
        ));
    }
    Ok(())
}

fn words(error: &minijinja::Error) -> String {
    let line = error.line().map_or_else(String::new, |line| format!(" in line {line} of the template"));
    format!(
        "{}{line}",
        error
            .detail()
            .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()))
    )
}

fn render(environment: &Environment<'_>, message: &Message) -> Result<String, minijinja::Error> {
    environment.get_template("body")?.render(context! {
        incident => Value::from_serialize(&message.json),
        what => message.what.name(),
        state => message.change.name(),
        severity => message.severity.name(),
        severity_before => message.severity_before.map(Severity::name),
        target => message.target(),
        text => message.summary(),
        key => &message.key,
    })
}

/// An incident with all that the contract says of one.
pub(crate) fn sample() -> Message {
    let json = json!({
        "ts": "2026-01-01T00:00:00Z", "event": "incident", "id": "syn_flood-0001", "kind": "syn_flood", "state": "opened",
        "severity": "P2", "opened_ts": "2026-01-01T00:00:00Z", "updated_ts": "2026-01-01T00:00:00Z", "closed_ts": null,
        "target": { "addr": "192.0.2.1", "port": 80, "proto": "tcp" }, "rule": "syn/s > 500", "measured": 1000.0,
        "unit": "syn/s", "limit": 500.0, "baseline": 50.0, "facts": { "asked_per_s": 1000.0 }, "window_s": 1.0, "pulses": 1,
        "sources": { "distinct": 1, "spoofed_estimate": 0.0, "top": [{ "addr": "198.51.100.1", "syn_per_s": 1000 }],
            "prefixes": [], "ttl_classes": 1 },
        "cause": ["a cause with \"quotes\""], "causes": [{ "cause": "forged_syns", "layer": "transport", "score": 0.5,
            "for": [], "against": [] }],
        "because_of": null, "consequences": 0, "host": null, "next": ["ss -s"], "mitigation": null, "lasted_s": null,
        "summary": null, "evidence": null, "quality": { "verdict": "complete" }, "source": { "kind": "file", "name": "x" },
    });
    let mut message = Message::other(What::Incident, "run/syn_flood-0001/0".into(), Severity::P2, json, 0);
    message.change = Change::Opened;
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_into_json_is_json() {
        let body = Body::template(r#"{"addr": {{ incident.target.addr }}}"#.into(), true).unwrap();
        assert_eq!(body.of(&sample()), r#"{"addr": "192.0.2.1"}"#);
        assert_eq!(body.of(&Message::test("run", 0)), r#"{"addr": null}"#, "a test has no target");
        let body = Body::template(r#"{"text": {{ text }}, "of": {{ (incident.kind ~ "!") }}}"#.into(), true)
            .unwrap();
        let json: serde_json::Value = serde_json::from_str(&body.of(&sample())).unwrap();
        assert_eq!(json["of"], "syn_flood!");
        assert!(json["text"].as_str().unwrap().ends_with("a cause with \"quotes\""), "{json}");
    }

    #[test]
    fn what_a_template_cannot_do_is_said_before_it_is_needed() {
        for (template, word) in [
            ("{{ incident.sevrity }}", "undefined"),
            ("{{ text", "syntax"),
            ("{\"text\": \"{{ text }}\"}", "with their quotes"),
            ("{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}", "fuel"),
        ] {
            let error = Body::template(template.into(), true).err().unwrap();
            assert!(error.contains(word), "{template}: {error}");
        }
        assert_eq!(Body::template("{{ text }}".into(), false).unwrap().of(&sample()), sample().summary());
    }
}
