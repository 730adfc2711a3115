//! How a container of an image is run: the image's config combined with the pod's, by Kubernetes' rules. Pure.
//! Source: "Define a Command and Arguments for a Container" and containerd's CRI plugin.

use super::spec::Config;
use crate::env::expand;
use k8s_openapi::api::core::v1::Container;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an image says about being run; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<(String, String)>,
    /// `name`, `uid`, `user:group`; empty is root.
    pub user: String,
    pub working_dir: String,
    pub stop_signal: Option<String>,
    /// `8080/tcp`
    pub exposed_ports: Vec<String>,
    pub labels: Vec<(String, String)>,
    /// Paths that are to be volumes, as they are written; see `Image::defined_volumes`.
    pub volumes: Vec<String>,
}

impl RunConfig {
    pub(super) fn from_spec(config: Config) -> RunConfig {
        let split = |variable: String| match variable.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (variable, String::new()),
        };
        RunConfig {
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            env: config.env.unwrap_or_default().into_iter().map(split).collect(),
            user: config.user.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
            exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            volumes: config.volumes.unwrap_or_default().into_keys().collect(),
        }
    }

    /// The process's arguments. A container's `command` replaces entrypoint *and* cmd, `args` alone replaces cmd;
    /// `$(NAME)` in both is expanded from the container's environment. Empty when nobody says what to run.
    pub fn command(&self, container: &Container, env: &[(String, String)]) -> Vec<String> {
        let expand_all = |list: &Option<Vec<String>>| -> Vec<String> {
            let lookup = |name: &str| {
                env.iter()
                    .rfind(|(n, _)| n == name)
                    .map(|(_, value)| value.clone())
            };
            list.iter().flatten().map(|text| expand(text, lookup)).collect()
        };
        let (command, args) = (expand_all(&container.command), expand_all(&container.args));
        let (first, then) = match (command.is_empty(), args.is_empty()) {
            (false, _) => (command, args),
            (true, false) => (self.entrypoint.clone(), args),
            (true, true) => (self.entrypoint.clone(), self.cmd.clone()),
        };
        [first, then].concat()
    }

    /// The process's environment: PATH and HOSTNAME, the image's, the container's; a later one wins in place.
    pub fn environment(&self, hostname: &str, container_env: &[(String, String)]) -> Vec<(String, String)> {
        let base = [("PATH", DEFAULT_PATH), ("HOSTNAME", hostname)];
        let base = base.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut merged: Vec<(String, String)> = Vec::new();
        for (name, value) in base.iter().chain(&self.env).chain(container_env) {
            match merged.iter_mut().find(|(n, _)| n == name) {
                Some((_, old)) => old.clone_from(value),
                None => merged.push((name.clone(), value.clone())),
            }
        }
        merged
    }

    /// The container's own, else the image's, else `/`.
    pub fn working_dir(&self, container: &Container) -> String {
        let own = container.working_dir.clone().filter(|dir| !dir.is_empty());
        let dir = own.unwrap_or_else(|| self.working_dir.clone());
        if dir.is_empty() { "/".to_owned() } else { dir }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> RunConfig {
        RunConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["default".into()],
            env: vec![("PATH".into(), "/bin".into()), ("A".into(), "image".into())],
            ..RunConfig::default()
        }
    }

    fn container(command: &[&str], args: &[&str]) -> Container {
        let list = |l: &[&str]| (!l.is_empty()).then(|| l.iter().map(|s| (*s).to_owned()).collect());
        Container {
            command: list(command),
            args: list(args),
            ..Container::default()
        }
    }

    #[test]
    fn command_and_args_replace_as_kubernetes_says() {
        let env = [("WHO".to_owned(), "pod".to_owned())];
        for (command, args, want) in [
            (&[][..], &[][..], "/entry default"),
            (&["/c"], &[], "/c"),
            (
                &[],
                &["x", "$(WHO)", "$(NOT)", "$$(WHO)"],
                "/entry x pod $(NOT) $(WHO)",
            ),
            (&["/c"], &["x"], "/c x"),
        ] {
            assert_eq!(image().command(&container(command, args), &env).join(" "), want);
        }
        assert!(
            RunConfig::default()
                .command(&container(&[], &[]), &env)
                .is_empty()
        );
    }

    #[test]
    fn environment_is_image_then_container() {
        let env = image().environment("web-0", &[("A".into(), "pod".into()), ("B".into(), "2".into())]);
        let text: Vec<String> = env.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(text.join(" "), "PATH=/bin HOSTNAME=web-0 A=pod B=2");
    }

    #[test]
    fn working_dir_falls_back_to_root() {
        let mut own = container(&[], &[]);
        assert_eq!(RunConfig::default().working_dir(&own), "/");
        own.working_dir = Some("/srv".into());
        assert_eq!(image().working_dir(&own), "/srv");
    }
}
