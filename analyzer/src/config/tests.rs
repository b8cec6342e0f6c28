//! Files of thresholds: right, misspelt, out of range.

use super::*;

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::from_toml("").unwrap(), Config::default());
}

#[test]
fn what_config_default_writes_is_the_default() {
    assert_eq!(Config::from_toml(&Config::default_toml()).unwrap(), Config::default());
}

#[test]
fn a_misspelt_key_and_an_impossible_value_are_named() {
    let misspelt = Config::from_toml("conn_rate_limit = 5").unwrap_err().to_string();
    let reason = "unknown field `conn_rate_limit`, did you mean `conn_rate_limit_per_s`; `tidegauge config explain` lists all";
    assert!(misspelt.ends_with(reason), "{misspelt}");
    let strange = Config::from_toml("foo = 5").unwrap_err().to_string();
    assert!(strange.ends_with("unknown field `foo`; `tidegauge config explain` lists all"), "{strange}");
    let impossible = Config::from_toml("# ours\nlow_window_share = 2.0").unwrap_err().to_string();
    assert!(impossible.contains("line 2: low_window_share = 2"), "{impossible}");
    let wrong_type = Config::from_toml("close_after_s = \"soon\"").unwrap_err().to_string();
    assert!(wrong_type.contains("close_after_s") && wrong_type.lines().count() == 1, "{wrong_type}");
}
