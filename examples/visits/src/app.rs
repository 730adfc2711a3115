//! The routes: what each path and method answers.

use jiff::Timestamp;

use crate::config::{Config, Settings};
use crate::http::{Answer, Body, Request};
use crate::visits::Visits;

pub struct App {
    config: Config,
    visits: Visits,
}

impl App {
    /// Opens the file and reads the settings once, so that a mistake in either ends the start with its reason.
    pub fn new(config: Config) -> Result<Self, String> {
        Settings::read(&config.settings_file)?;
        let visits = Visits::open(config.visits_file.clone())?;
        Ok(Self { config, visits })
    }

    pub fn pod(&self) -> &str {
        &self.config.pod
    }

    pub fn describe(&self) -> String {
        let file = self.visits.path().display();
        let token = if self.config.token.is_some() {
            "a token"
        } else {
            "no token"
        };
        match self.visits.count() {
            Ok(count) => format!("{} in {file}, {token}", visits(count)),
            Err(error) => error,
        }
    }

    pub fn answer(&self, request: &Request) -> Answer {
        let answer = match (request.path.as_str(), request.method.as_str()) {
            ("/", "GET") => self
                .visits
                .add(Timestamp::now())
                .and_then(|count| self.greet(count)),
            ("/", "HEAD") => self.visits.count().and_then(|count| self.greet(count)), // looking is not a visit
            ("/healthz", "GET" | "HEAD") => Ok(Answer::text(200, "ok\n")),
            ("/visits", "GET" | "HEAD") => self.visits.reader().map(|(file, length)| Answer {
                body: Body::File(file, length),
                ..Answer::text(200, "")
            }),
            ("/reset", "POST") => self.reset(request),
            ("/" | "/healthz" | "/visits", _) => Ok(not_allowed("allow: GET, HEAD\r\n")),
            ("/reset", _) => Ok(not_allowed("allow: POST\r\n")),
            _ => Ok(Answer::text(404, "there are /, /visits, /healthz and /reset\n")),
        };
        answer.unwrap_or_else(|error| {
            eprintln!("{} {}: {error}", request.method, request.path);
            Answer::text(500, format!("{error}\n"))
        })
    }

    fn greet(&self, count: u64) -> Result<Answer, String> {
        let greeting = Settings::read(&self.config.settings_file)?.greeting;
        Ok(Answer::text(
            200,
            format!("{greeting} {} has seen {}\n", self.config.pod, visits(count)),
        ))
    }

    /// Only for those who know the Secret.
    fn reset(&self, request: &Request) -> Result<Answer, String> {
        let Some(token) = &self.config.token else {
            return Ok(Answer::text(
                403,
                "reset is off: set VISITS_TOKEN to switch it on\n",
            ));
        };
        if !request
            .bearer
            .as_ref()
            .is_some_and(|given| same(given.as_bytes(), token.as_bytes()))
        {
            let answer = Answer::text(
                401,
                "reset needs the header `Authorization: Bearer <the Secret's token>`\n",
            );
            return Ok(answer.with("www-authenticate: Bearer\r\n"));
        }
        self.visits.clear()?;
        eprintln!("the file was emptied");
        Ok(Answer::text(200, format!("{} starts again\n", self.config.pod)))
    }
}

fn not_allowed(allow: &'static str) -> Answer {
    Answer::text(405, "this path has other methods, see `allow`\n").with(allow)
}

fn visits(count: u64) -> String {
    if count == 1 {
        "1 visit".to_owned()
    } else {
        format!("{count} visits")
    }
}

/// Compares without telling by its time how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |differences, (x, y)| differences | (x ^ y))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_visit_many_visits() {
        assert_eq!(
            [visits(0), visits(1), visits(2)],
            ["0 visits", "1 visit", "2 visits"]
        );
    }

    #[test]
    fn tokens_are_the_same_only_when_they_are() {
        assert!(same(b"s3cret", b"s3cret"));
        for other in [&b""[..], b"s3cre", b"s3creT", b"s3crett"] {
            assert!(!same(other, b"s3cret"));
        }
    }
}
