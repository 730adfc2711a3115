//! Links in a pod's answers: those that lead to its root are made to lead below the proxy's path, in `Location` and in
//! HTML, which is rewritten while it streams.

use bytes::Bytes;
use lol_html::send::{HtmlRewriter, Settings};
use lol_html::{MemorySettings, OutputSink, element};
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes that a page may make the rewriter hold: one tag with its attributes. From a larger one on, the page is
/// passed on as it is.
const MAX_TAG_BYTES: usize = 256 * 1024;

/// Attributes that hold one URL, and the elements that have them. Source: HTML's index of attributes.
const URLS: [(&str, &[&str]); 15] = [
    ("href", &["a", "area", "base", "link"]),
    (
        "src",
        &[
            "audio", "embed", "frame", "iframe", "img", "input", "script", "source", "video",
        ],
    ),
    ("action", &["form"]),
    ("formaction", &["button", "input"]),
    ("cite", &["blockquote", "del", "ins", "q"]),
    ("longdesc", &["frame", "iframe", "img"]),
    ("usemap", &["img", "input", "object"]),
    ("codebase", &["applet", "object"]),
    ("classid", &["object"]),
    ("data", &["object"]),
    ("background", &["body"]),
    ("icon", &["command"]),
    ("profile", &["head"]),
    ("manifest", &["html"]),
    ("poster", &["video"]),
];

/// How one request's links are told apart and changed.
#[derive(Clone, Debug)]
pub struct Links {
    /// The proxy's path: `/api/v1/namespaces/a/pods/b/proxy`.
    pub base: String,
    /// The pod's address and port.
    pub backend: String,
    /// The host that the client asked for.
    pub asked: String,
}

impl Links {
    /// The link as it has to be here; `None`: as it is. Only links to this host's root change, once.
    pub fn rewritten(&self, link: &str) -> Option<String> {
        let (site, host, rest) = split(link.trim());
        let here = host.is_empty() || host == self.backend || host == self.asked;
        if !here || !rest.starts_with('/') {
            return None;
        }
        // What names the client's own way here stays whole; the pod's address is nothing that the client could reach.
        let site = if host == self.asked { site } else { "" };
        let path = if rest.starts_with(&self.base) {
            ""
        } else {
            self.base.as_str()
        };
        let ours = format!("{site}{path}{rest}");
        (ours != link).then_some(ours)
    }

    pub fn page(self) -> Page {
        Page::new(self)
    }
}

/// A URL as `scheme://host` (or `//host`, or nothing), the host in it, and the rest.
fn split(link: &str) -> (&str, &str, &str) {
    let scheme = link.find("//").filter(|at| {
        let scheme = &link[..*at];
        let known = |s: &str| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https");
        scheme.is_empty() || scheme.strip_suffix(':').is_some_and(known)
    });
    let Some(at) = scheme else {
        return ("", "", link);
    };
    let start = at + 2;
    let end = link[start..]
        .find(['/', '?', '#'])
        .map_or(link.len(), |n| start + n);
    (&link[..end], &link[start..end], &link[end..])
}

/// A page on its way: bytes in, bytes out, nothing else of it changed.
pub struct Page {
    rewriter: Option<HtmlRewriter<'static, Sink>>,
    out: Sink,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl OutputSink for Sink {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend_from_slice(chunk);
    }
}

impl Page {
    fn new(links: Links) -> Self {
        let out = Sink::default();
        let every_tag = element!("*", move |tag| {
            let name = tag.tag_name();
            for (attribute, tags) in URLS {
                if !tags.contains(&name.as_str()) {
                    continue;
                }
                let ours = tag
                    .get_attribute(attribute)
                    .and_then(|link| links.rewritten(&link));
                if let Some(ours) = ours {
                    tag.set_attribute(attribute, &ours)?;
                }
            }
            Ok(())
        });
        let memory = MemorySettings::new()
            .with_max_allowed_memory_usage(MAX_TAG_BYTES)
            .with_graceful_bail_out_on_memory_limit_exceeded(true);
        let settings = Settings::new_send()
            .append_element_content_handler(every_tag)
            .with_memory_settings(memory)
            // What is ambiguous is to be passed on all the same.
            .with_strict(false)
            .with_graceful_bail_out_on_content_handler_error(true);
        Self {
            rewriter: Some(HtmlRewriter::new(settings, out.clone())),
            out,
        }
    }

    /// What can be passed on after this piece; perhaps nothing yet.
    pub fn write(&mut self, piece: Bytes) -> Bytes {
        let Some(rewriter) = &mut self.rewriter else {
            return piece;
        };
        if let Err(error) = rewriter.write(&piece) {
            // It has put out all that it was given.
            tracing::debug!(%error, "the rest of a page keeps its links");
            self.rewriter = None;
        }
        self.written()
    }

    pub fn end(&mut self) -> Bytes {
        if let Some(rewriter) = self.rewriter.take()
            && let Err(error) = rewriter.end()
        {
            tracing::debug!(%error, "the end of a page keeps its links");
        }
        self.written()
    }

    fn written(&self) -> Bytes {
        let mut out = self.out.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *out).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links {
            base: "/api/v1/namespaces/n/pods/p/proxy".into(),
            backend: "10.244.0.7:8080".into(),
            asked: "localhost:8001".into(),
        }
    }

    #[test]
    fn links_to_the_pods_root_lead_below_the_proxy() {
        let base = links().base;
        for (link, ours) in [
            ("/", format!("{base}/")),
            ("/a/b?c=d#e", format!("{base}/a/b?c=d#e")),
            ("http://10.244.0.7:8080/a", format!("{base}/a")),
            ("//10.244.0.7:8080/a", format!("{base}/a")),
            (
                "http://localhost:8001/a",
                format!("http://localhost:8001{base}/a"),
            ),
        ] {
            assert_eq!(links().rewritten(link).as_deref(), Some(ours.as_str()), "{link}");
        }
    }

    #[test]
    fn other_links_stay_as_they_are() {
        let below = format!("{}/a", links().base);
        let others = [
            "",
            "a",
            "../a",
            "?q",
            "#f",
            "mailto:a@b",
            "http://elsewhere/a",
            "//elsewhere/a",
            "http://localhost:8001",
            "data:text/html,//x/",
            &below,
        ];
        for link in others {
            assert_eq!(links().rewritten(link), None, "{link}");
        }
    }

    #[test]
    fn a_page_comes_through_in_any_pieces() {
        let page = "<!DOCTYPE html><HTML><!-- <a href='/no'> --><a HREF='/a?x=1&amp;y=2' class=x>a</a>\
            <img src=/i.png><script>let s = \"<a href='/no'>\";</script><p href='/no'>\u{e9} <a href=rel>b</a>";
        let through = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut rewriter = links().page();
            let mut out = Vec::new();
            pieces.for_each(|piece| out.extend_from_slice(&rewriter.write(Bytes::copy_from_slice(piece))));
            out.extend_from_slice(&rewriter.end());
            String::from_utf8(out).expect("text")
        };
        let base = links().base;
        let wanted = page
            .replace("HREF='/a?x=1&amp;y=2'", &format!("HREF=\"{base}/a?x=1&amp;y=2\""))
            .replace("src=/i.png", &format!("src=\"{base}/i.png\""));
        assert_eq!(through(&mut std::iter::once(page.as_bytes())), wanted);
        assert_eq!(through(&mut page.as_bytes().chunks(1)), wanted);
    }

    #[test]
    fn a_tag_without_end_is_passed_on_and_not_held() {
        let mut rewriter = links().page();
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        let mut size = rewriter.write(Bytes::from_static(b"<a href='")).len();
        for _ in 0..8 {
            size += rewriter.write(piece.clone()).len();
        }
        assert_eq!(size, 9 + 8 * piece.len());
        assert_eq!(rewriter.end().len(), 0);
    }
}
