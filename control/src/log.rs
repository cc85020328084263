//! What is logged, and `vlog/set`, which changes it while the daemon runs.

use std::sync::{Mutex, OnceLock, PoisonError};
use tracing_subscriber::EnvFilter;

type Reload = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static RELOAD: OnceLock<Reload> = OnceLock::new();
static FILTER: Mutex<String> = Mutex::new(String::new());

/// Logs to stderr, by `RUST_LOG` or at `level`.
pub(crate) fn start(level: &str) {
    let text = std::env::var("RUST_LOG").ok().filter(|text| EnvFilter::try_new(text).is_ok());
    let text = text.unwrap_or_else(|| format!("{level},netlink_proto=error"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&text))
        .with_writer(std::io::stderr)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    let reload = move |filter| handle.reload(filter).map_err(|error| error.to_string());
    let _ = RELOAD.set(Box::new(reload));
    *FILTER.lock().unwrap_or_else(PoisonError::into_inner) = text;
    builder.init();
}

/// What is logged now: levels by module.
pub fn list() -> String {
    let filter = FILTER.lock().unwrap_or_else(PoisonError::into_inner);
    filter.split(',').map(|part| format!("{part}\n")).collect()
}

/// Changes what is logged; each word is a `[MODULE:[console:]]LEVEL` of `vlog/set`.
///
/// # Errors
/// What was expected and found.
pub fn set(words: &[String]) -> Result<(), String> {
    let mut filter = FILTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = filter.clone();
    for word in words {
        text = changed(&text, word)?;
    }
    let parsed = EnvFilter::try_new(&text).map_err(|error| format!("vlog/set: {error}"))?;
    RELOAD.get().map_or(Ok(()), |reload| reload(parsed))?;
    *filter = text;
    Ok(())
}

fn changed(filter: &str, word: &str) -> Result<String, String> {
    let parts: Vec<&str> = word.split(':').filter(|part| !part.is_empty()).collect();
    let (level, rest) = parts.split_last().ok_or_else(|| expected(word))?;
    let level = match level.to_ascii_lowercase().as_str() {
        "off" => "off",
        "emer" | "err" => "error",
        "warn" => "warn",
        "info" => "info",
        "dbg" => "debug",
        _ => return Err(expected(word)),
    };
    let facility = |name: &str| ["any", "console"].contains(&name.to_ascii_lowercase().as_str());
    let module = match rest {
        [] => None,
        [one] if facility(one) => None,
        [module] => Some(*module),
        [module, where_] if facility(where_) => {
            (!module.eq_ignore_ascii_case("any")).then_some(*module)
        }
        _ => return Err(expected(word)),
    };
    let Some(module) = module else { return Ok(level.to_owned()) };
    let sane = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if !module.chars().all(sane) {
        return Err(expected(word));
    }
    let start = format!("{module}=");
    let kept = filter.split(',').filter(|part| !part.starts_with(&start));
    Ok(kept.chain([format!("{module}={level}").as_str()]).collect::<Vec<_>>().join(","))
}

fn expected(word: &str) -> String {
    format!(
        "vlog/set: expected [MODULE:[console:]]LEVEL, with a level of off, emer, err, warn, info or \
         dbg, found {word:?}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_set_for_all_or_for_a_module_as_ovs_says_it() {
        assert_eq!(changed("info", "dbg").unwrap(), "debug");
        assert_eq!(changed("info", "ANY:ANY:warn").unwrap(), "warn");
        assert_eq!(changed("info", "console:off").unwrap(), "off");
        let one = changed("info", "ovn_xdp_control:dbg").unwrap();
        assert_eq!(one, "info,ovn_xdp_control=debug");
        let again = changed(&one, "ovn_xdp_control:console:err").unwrap();
        assert_eq!(again, "info,ovn_xdp_control=error");
        for wrong in ["", "loud", "a:b:c:dbg", "a,b:dbg", "m:syslog:dbg"] {
            assert!(changed("info", wrong).unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
