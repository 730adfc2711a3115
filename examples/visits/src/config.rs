//! What the app is told: the environment (read once, at start) and the settings file (a mounted ConfigMap, read at each
//! visit, so that an edited ConfigMap counts without a restart).

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A settings file larger than this is refused: it is read at every visit.
const SETTINGS_LIMIT_BYTES: u64 = 16 * 1024;

/// The environment, with every value checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    pub port: u16,
    pub pod: String,
    pub visits_file: PathBuf,
    pub settings_file: PathBuf,
    /// From a Secret. Without it nobody may empty the file.
    pub token: Option<String>,
    /// Where to link the program as `tail`.
    pub tools_dir: Option<PathBuf>,
}

impl Config {
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let port = match set("PORT") {
            None => 8080,
            Some(text) => text
                .parse()
                .map_err(|_| format!("PORT is {text:?}: set it to a number from 0 to 65535"))?,
        };
        Ok(Self {
            port,
            pod: set("POD_NAME")
                .or_else(|| set("HOSTNAME"))
                .unwrap_or_else(|| "visits".to_owned()),
            visits_file: set("VISITS_FILE")
                .unwrap_or_else(|| "/data/visits.txt".to_owned())
                .into(),
            settings_file: set("SETTINGS_FILE")
                .unwrap_or_else(|| "/etc/visits/settings".to_owned())
                .into(),
            token: set("VISITS_TOKEN"),
            tools_dir: set("TOOLS_DIR").map(PathBuf::from),
        })
    }
}

/// The settings file: `key=value` lines, `#` comments.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    pub greeting: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            greeting: "Hello!".to_owned(),
        }
    }
}

impl Settings {
    /// A missing file means defaults; a broken one is an error that names the line.
    pub fn read(path: &Path) -> Result<Self, String> {
        let at = |e: std::io::Error| format!("cannot read the settings {}: {e}", path.display());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(at(e)),
        };
        let mut text = String::new();
        let read = file
            .take(SETTINGS_LIMIT_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(at)?;
        if read as u64 > SETTINGS_LIMIT_BYTES {
            return Err(format!(
                "the settings {} are over {SETTINGS_LIMIT_BYTES} bytes",
                path.display()
            ));
        }
        Self::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
            {
                Some(("greeting", value)) => settings.greeting = value.to_owned(),
                Some((key, _)) => {
                    return Err(format!(
                        "line {}: unknown setting {key:?}; known: greeting",
                        index + 1
                    ));
                }
                None => return Err(format!("line {}: {line:?} is not key=value", index + 1)),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_has_defaults_and_a_pod_name() {
        let config = Config::from_env(|_| None).expect("defaults");
        assert_eq!((config.port, config.token), (8080, None));
        assert_eq!(config.visits_file, Path::new("/data/visits.txt"));

        let env = |name: &str| match name {
            "PORT" => Some("9000".to_owned()),
            "HOSTNAME" => Some("from-hostname".to_owned()),
            "VISITS_TOKEN" => Some(String::new()), // an empty value counts as not set
            _ => None,
        };
        let config = Config::from_env(env).expect("valid");
        assert_eq!(
            (config.port, config.pod.as_str(), config.token),
            (9000, "from-hostname", None)
        );
    }

    #[test]
    fn a_bad_port_says_what_to_do() {
        for bad in ["x", "-1", "65536", "80 "] {
            let error =
                Config::from_env(|name| (name == "PORT").then(|| bad.to_owned())).expect_err("refused");
            assert_eq!(
                error,
                format!("PORT is {bad:?}: set it to a number from 0 to 65535")
            );
        }
    }

    #[test]
    fn settings_are_lines_and_errors_name_the_line() {
        assert_eq!(
            Settings::parse("# hi\n\n greeting = Good day! \n")
                .expect("valid")
                .greeting,
            "Good day!"
        );
        assert_eq!(Settings::parse("").expect("empty"), Settings::default());
        assert_eq!(
            Settings::parse("\ngreting=x").expect_err("typo"),
            "line 2: unknown setting \"greting\"; known: greeting"
        );
        assert_eq!(
            Settings::parse("hello").expect_err("no key"),
            "line 1: \"hello\" is not key=value"
        );
    }

    #[test]
    fn a_missing_settings_file_means_defaults_and_a_huge_one_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("settings");
        assert_eq!(Settings::read(&path).expect("missing"), Settings::default());
        std::fs::write(&path, "#".repeat(20_000)).expect("written");
        assert!(
            Settings::read(&path)
                .expect_err("huge")
                .ends_with("are over 16384 bytes")
        );
    }
}
