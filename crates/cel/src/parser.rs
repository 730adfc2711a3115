//! What reading an expression rests on: limits on size and depth, the tokens, and ANTLR's words for what cannot be read.
//! The grammar is in `grammar`.

use crate::ast::{Expr, Id, Kind};
use crate::lexer::{Tok, Token, tokens};
use crate::source::{Errors, Location, Source};

/// Longer expressions are refused, in code points.
const MAX_CODE_POINTS: usize = 100_000;
/// How often any rule of the grammar may stand within itself.
const MAX_DEPTH: u32 = 250;
/// Macros copy what they are applied to; this bounds what a chain of them can become.
const MAX_NODES: usize = 400_000;

/// Names that no variable can have.
pub(crate) const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// What a parse gives: the tree and the offset of each node.
pub(crate) struct Parsed {
    pub root: Expr,
    pub positions: Vec<u32>,
}

/// Reading stops: what is wrong has been reported.
pub(crate) struct Stop;

pub(crate) type Read<T> = Result<T, Stop>;

/// The rules of the grammar that can stand within themselves.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Expr,
    Relation,
    Calc,
    Unary,
    Member,
}

pub(crate) struct Parser<'s> {
    pub source: &'s Source,
    pub errors: &'s mut Errors,
    pub positions: Vec<u32>,
    pub bindings: bool,
    pub tokens: Vec<Token>,
    pub at: usize,
    depth: [u32; 5],
    /// An error was reported and nothing has fit since: the next one is its consequence.
    pub recovering: bool,
    /// A limit was exceeded: nothing more is read.
    gave_up: bool,
    /// The brackets and `?` that are open.
    pub open: Vec<Tok>,
}

/// What an operand can start with.
pub(crate) const OPERAND: [Tok; 15] = [
    Tok::LBracket,
    Tok::LBrace,
    Tok::LParen,
    Tok::Dot,
    Tok::Minus,
    Tok::Not,
    Tok::True,
    Tok::False,
    Tok::Null,
    Tok::Float,
    Tok::Int,
    Tok::Uint,
    Tok::String,
    Tok::Bytes,
    Tok::Ident,
];

/// Reads `source`; `None` when something was reported. `bindings` turns `cel.bind` on.
pub(crate) fn parse(source: &Source, errors: &mut Errors, bindings: bool) -> Option<Parsed> {
    if source.chars.len() > MAX_CODE_POINTS {
        let size = source.chars.len();
        let message =
            format!("expression code point size exceeds limit: size: {size}, limit {MAX_CODE_POINTS}");
        errors.report(Location::NONE, message);
        return None;
    }
    let tokens = tokens(source, errors);
    let mut parser = Parser {
        source,
        errors,
        positions: vec![0],
        bindings,
        tokens,
        at: 0,
        depth: [0; 5],
        recovering: false,
        gave_up: false,
        open: Vec::new(),
    };
    let root = parser.start().ok()?;
    let positions = parser.positions;
    errors.is_empty().then_some(Parsed { root, positions })
}

impl Parser<'_> {
    fn start(&mut self) -> Read<Expr> {
        let root = self.expr()?;
        self.expect(Tok::Eof, &[])?;
        Ok(root)
    }

    pub fn peek(&self) -> Tok {
        self.tokens[self.at].kind
    }

    pub fn peek_at(&self, ahead: usize) -> Tok {
        self.tokens.get(self.at + ahead).map_or(Tok::Eof, |t| t.kind)
    }

    pub fn next(&mut self) -> Token {
        let token = self.tokens[self.at];
        self.recovering = false;
        if token.kind != Tok::Eof {
            self.at += 1;
        }
        token
    }

    pub fn take(&mut self, kind: Tok) -> Option<Token> {
        (self.peek() == kind).then(|| self.next())
    }

    pub fn text(&self, token: Token) -> String {
        self.source.chars[token.start..token.end].iter().collect()
    }

    /// The current token's text as messages quote it.
    pub fn quoted(&self) -> String {
        let token = self.tokens[self.at];
        if token.kind == Tok::Eof {
            "<EOF>".to_string()
        } else {
            quote(&self.text(token))
        }
    }

    pub fn syntax_error(&mut self, message: &str) {
        if self.recovering {
            return;
        }
        let location = self.source.location(self.tokens[self.at].start);
        self.errors.report(location, format!("Syntax error: {message}"));
    }

    /// Takes the token `kind`. When another one stands there that is one too many it is skipped; when a token of
    /// `follow` stands there, which may come after the missing one, reading goes on.
    pub fn expect(&mut self, kind: Tok, follow: &[Tok]) -> Read<Token> {
        if opening(kind).is_some() && self.open.last() == opening(kind).as_ref() {
            self.open.pop();
        }
        if self.peek() == kind {
            return Ok(self.next());
        }
        if self.peek() != Tok::Eof && self.peek_at(1) == kind {
            self.syntax_error(&format!(
                "extraneous input '{}' expecting {}",
                self.quoted(),
                kind.name()
            ));
            self.next();
            return Ok(self.next());
        }
        if follow.contains(&self.peek()) && self.can_follow(self.peek()) {
            self.syntax_error(&format!("missing {} at '{}'", kind.name(), self.quoted()));
            return Ok(self.tokens[self.at]);
        }
        self.syntax_error(&format!(
            "mismatched input '{}' expecting {}",
            self.quoted(),
            kind.name()
        ));
        Err(Stop)
    }

    /// After an error: goes on at what can follow an operand here. What was open since `before` no longer is.
    pub fn recover(&mut self, before: ([u32; 5], usize), start: usize) -> Read<Expr> {
        if self.gave_up {
            return Err(Stop);
        }
        self.depth = before.0;
        self.open.truncate(before.1);
        let goes_on = |tok: Tok| FOLLOW.contains(&tok) && tok != Tok::LBracket;
        while self.peek() != Tok::Eof && !(goes_on(self.peek()) && self.can_follow(self.peek())) {
            self.at += 1;
        }
        self.recovering = true;
        self.node(start, Kind::Bad)
    }

    /// What `recover` goes back to.
    pub fn before(&self) -> ([u32; 5], usize) {
        (self.depth, self.open.len())
    }

    /// Whether what is open lets this token stand after an operand.
    pub fn can_follow(&self, tok: Tok) -> bool {
        let is_open = |tok: Tok| self.open.contains(&tok);
        match tok {
            Tok::RParen => is_open(Tok::LParen),
            Tok::RBracket => is_open(Tok::LBracket),
            Tok::RBrace => is_open(Tok::LBrace),
            Tok::Comma => self
                .open
                .iter()
                .any(|open| matches!(open, Tok::LParen | Tok::LBracket | Tok::LBrace)),
            Tok::Eof => self.open.is_empty(),
            Tok::Colon => is_open(Tok::LBrace) || is_open(Tok::Question),
            _ => true,
        }
    }

    /// Reports unless one of `expected` comes next; a single token too many is skipped.
    pub fn sync(&mut self, expected: &[&[Tok]]) -> Read<()> {
        let fits = |tok: Tok| expected.iter().any(|set| set.contains(&tok));
        if fits(self.peek()) {
            return Ok(());
        }
        let mut all: Vec<Tok> = expected.iter().flat_map(|set| set.iter().copied()).collect();
        all.sort();
        let names: Vec<&str> = all.iter().map(|tok| tok.name()).collect();
        let set = if names.len() == 1 {
            names[0].to_string()
        } else {
            format!("{{{}}}", names.join(", "))
        };
        if self.peek() != Tok::Eof && fits(self.peek_at(1)) {
            self.syntax_error(&format!("extraneous input '{}' expecting {set}", self.quoted()));
            self.next();
            return Ok(());
        }
        self.syntax_error(&format!("mismatched input '{}' expecting {set}", self.quoted()));
        Err(Stop)
    }

    pub fn enter(&mut self, rule: Rule) -> Read<()> {
        self.depth[rule as usize] += 1;
        if self.depth[rule as usize] > MAX_DEPTH {
            self.gave_up = true;
            self.errors.report(
                Location::NONE,
                format!("expression recursion limit exceeded: {MAX_DEPTH}"),
            );
            return Err(Stop);
        }
        Ok(())
    }

    pub fn leave(&mut self, rule: Rule, count: u32) {
        self.depth[rule as usize] -= count;
    }

    /// A new id at an offset in the text.
    pub fn id(&mut self, offset: usize) -> Read<Id> {
        if self.positions.len() >= MAX_NODES {
            self.gave_up = true;
            self.errors.report(
                Location::NONE,
                "expression is too large after its macros are expanded",
            );
            return Err(Stop);
        }
        self.positions.push(offset as u32);
        Ok((self.positions.len() - 1) as Id)
    }

    pub fn node(&mut self, offset: usize, kind: Kind) -> Read<Expr> {
        Ok(Expr {
            id: self.id(offset)?,
            kind,
        })
    }

    /// Reports at an offset and goes on with something that is no expression.
    pub fn bad(&mut self, offset: usize, message: String) -> Read<Expr> {
        let location = self.source.location(offset);
        self.errors.report(location, message);
        self.node(offset, Kind::Bad)
    }

    pub fn call(&mut self, offset: usize, name: &str, args: Vec<Expr>) -> Read<Expr> {
        self.node(
            offset,
            Kind::Call {
                target: None,
                name: name.into(),
                args,
            },
        )
    }
}

/// What a closing token closes.
fn opening(closing: Tok) -> Option<Tok> {
    match closing {
        Tok::RParen => Some(Tok::LParen),
        Tok::RBracket => Some(Tok::LBracket),
        Tok::RBrace => Some(Tok::LBrace),
        Tok::Colon => Some(Tok::Question),
        _ => None,
    }
}

/// What can come after a complete operand: a bracket that is missing before one of these is taken for granted.
pub(crate) const FOLLOW: [Tok; 21] = [
    Tok::EqEq,
    Tok::NotEq,
    Tok::In,
    Tok::Less,
    Tok::LessEq,
    Tok::GreaterEq,
    Tok::Greater,
    Tok::And,
    Tok::Or,
    Tok::RBracket,
    Tok::LBracket,
    Tok::RBrace,
    Tok::RParen,
    Tok::Comma,
    Tok::Minus,
    Tok::Question,
    Tok::Colon,
    Tok::Plus,
    Tok::Star,
    Tok::Slash,
    Tok::Eof,
];

pub(crate) fn quote(text: &str) -> String {
    text.replace('\n', "\\n")
        .replace('\t', "\\t")
        .replace('\r', "\\r")
}
