//! Reads an expression: CEL's grammar by recursive descent, with limits on size and depth and with ANTLR's words for what
//! cannot be read. Macros are expanded on the way (`macros`).

use crate::ast::{Entry, Expr, Field, Id, Kind, Literal, op};
use crate::lexer::{Tok, Token, tokens};
use crate::literal::unescape;
use crate::source::{Errors, Location, Source};
use std::sync::Arc;

/// Longer expressions are refused, in code points.
const MAX_CODE_POINTS: usize = 100_000;
/// How often any rule of the grammar may stand within itself.
const MAX_DEPTH: u32 = 250;
/// Macros copy what they are applied to; this bounds what a chain of them can become.
const MAX_NODES: usize = 400_000;

/// Names that no variable can have.
const RESERVED: [&str; 21] = [
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
enum Rule {
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
    tokens: Vec<Token>,
    at: usize,
    depth: [u32; 5],
    /// An error was reported and nothing has fit since: the next one is its consequence.
    recovering: bool,
    /// The brackets and `?` that are open.
    open: Vec<Tok>,
}

/// What an operand can start with.
const OPERAND: [Tok; 15] = [
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
        at: 0, depth: [0; 5], recovering: false, open: Vec::new() };
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

    fn peek(&self) -> Tok {
        self.tokens[self.at].kind
    }

    fn peek_at(&self, ahead: usize) -> Tok {
        self.tokens.get(self.at + ahead).map_or(Tok::Eof, |t| t.kind)
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at];
        self.recovering = false;
        if token.kind != Tok::Eof {
            self.at += 1;
        }
        token
    }

    fn take(&mut self, kind: Tok) -> Option<Token> {
        (self.peek() == kind).then(|| self.next())
    }

    fn text(&self, token: Token) -> String {
        self.source.chars[token.start..token.end].iter().collect()
    }

    /// The current token's text as messages quote it.
    fn quoted(&self) -> String {
        let token = self.tokens[self.at];
        if token.kind == Tok::Eof {
            "<EOF>".to_string()
        } else {
            quote(&self.text(token))
        }
    }

    fn syntax_error(&mut self, message: &str) {
        if self.recovering {
            return;
        }
        let location = self.source.location(self.tokens[self.at].start);
        self.errors.report(location, format!("Syntax error: {message}"));
    }

    /// Takes the token `kind`. When another one stands there that is one too many it is skipped; when a token of
    /// `follow` stands there, which may come after the missing one, reading goes on.
    fn expect(&mut self, kind: Tok, follow: &[Tok]) -> Read<Token> {
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

    /// Whether what is open lets this token stand after an operand.
    fn can_follow(&self, tok: Tok) -> bool {
        let is_open = |tok: Tok| self.open.contains(&tok);
        match tok {
            Tok::RParen => is_open(Tok::LParen),
            Tok::RBracket => is_open(Tok::LBracket),
            Tok::RBrace => is_open(Tok::LBrace),
            Tok::Comma => self.open.iter().any(|open| matches!(open, Tok::LParen | Tok::LBracket | Tok::LBrace)),
            Tok::Colon => is_open(Tok::LBrace) || is_open(Tok::Question),
            _ => true,
        }
    }

    /// Reports unless one of `expected` comes next; a single token too many is skipped.
    fn sync(&mut self, expected: &[&[Tok]]) -> Read<()> {
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

    fn enter(&mut self, rule: Rule) -> Read<()> {
        self.depth[rule as usize] += 1;
        if self.depth[rule as usize] > MAX_DEPTH {
            self.errors.report(
                Location::NONE,
                format!("expression recursion limit exceeded: {MAX_DEPTH}"),
            );
            return Err(Stop);
        }
        Ok(())
    }

    fn leave(&mut self, rule: Rule, count: u32) {
        self.depth[rule as usize] -= count;
    }

    /// A new id at an offset in the text.
    pub fn id(&mut self, offset: usize) -> Read<Id> {
        if self.positions.len() >= MAX_NODES {
            self.errors.report(
                Location::NONE,
                "expression is too large after its macros are expanded",
            );
            return Err(Stop);
        }
        self.positions.push(offset as u32);
        Ok((self.positions.len() - 1) as Id)
    }

    fn node(&mut self, offset: usize, kind: Kind) -> Read<Expr> {
        Ok(Expr {
            id: self.id(offset)?,
            kind,
        })
    }

    /// Reports at an offset and goes on with something that is no expression.
    fn bad(&mut self, offset: usize, message: String) -> Read<Expr> {
        let location = self.source.location(offset);
        self.errors.report(location, message);
        self.node(offset, Kind::Bad)
    }

    fn call(&mut self, offset: usize, name: &str, args: Vec<Expr>) -> Read<Expr> {
        self.node(
            offset,
            Kind::Call {
                target: None,
                name: name.into(),
                args,
            },
        )
    }

    // expr: conditionalOr ('?' conditionalOr ':' expr)?
    fn expr(&mut self) -> Read<Expr> {
        self.enter(Rule::Expr)?;
        let condition = self.logic(Tok::Or, op::OR)?;
        let expr = if let Some(question) = self.take(Tok::Question) {
            self.open.push(Tok::Question);
            let truthy = self.logic(Tok::Or, op::OR)?;
            self.expect(Tok::Colon, &OPERAND)?;
            let falsy = self.expr()?;
            self.call(question.start, op::CONDITIONAL, vec![condition, truthy, falsy])?
        } else {
            condition
        };
        self.leave(Rule::Expr, 1);
        Ok(expr)
    }

    /// `a || b || …` or `a && b && …`, as a balanced tree.
    fn logic(&mut self, tok: Tok, name: &str) -> Read<Expr> {
        let mut terms = Vec::new();
        let mut ops = Vec::new();
        loop {
            terms.push(Some(if tok == Tok::Or {
                self.logic(Tok::And, op::AND)?
            } else {
                self.relation()?
            }));
            match self.take(tok) {
                Some(token) => ops.push(self.id(token.start)?),
                None => break,
            }
        }
        if ops.is_empty() {
            return terms.pop().flatten().ok_or(Stop);
        }
        balanced(name, &mut terms, &ops, 0, ops.len() - 1).ok_or(Stop)
    }

    fn relation(&mut self) -> Read<Expr> {
        self.enter(Rule::Relation)?;
        let mut levels = 1;
        let mut left = self.calc(0)?;
        loop {
            let name = match self.peek() {
                Tok::Less => "_<_",
                Tok::LessEq => "_<=_",
                Tok::GreaterEq => "_>=_",
                Tok::Greater => "_>_",
                Tok::EqEq => op::EQUALS,
                Tok::NotEq => op::NOT_EQUALS,
                Tok::In => op::IN,
                _ => break,
            };
            self.enter(Rule::Relation)?;
            levels += 1;
            let token = self.next();
            let right = self.calc(0)?;
            left = self.call(token.start, name, vec![left, right])?;
        }
        self.leave(Rule::Relation, levels);
        Ok(left)
    }

    /// Sums (`level` 0) and products (1).
    fn calc(&mut self, level: u32) -> Read<Expr> {
        self.enter(Rule::Calc)?;
        let mut levels = 1;
        let mut left = self.unary()?;
        loop {
            let (name, of) = match self.peek() {
                Tok::Star => ("_*_", 1),
                Tok::Slash => ("_/_", 1),
                Tok::Percent => ("_%_", 1),
                Tok::Plus => (op::ADD, 0),
                Tok::Minus => ("_-_", 0),
                _ => break,
            };
            if of < level {
                break;
            }
            self.enter(Rule::Calc)?;
            levels += 1;
            let token = self.next();
            let right = if of == 0 { self.calc(1)? } else { self.factor()? };
            left = self.call(token.start, name, vec![left, right])?;
        }
        self.leave(Rule::Calc, levels);
        Ok(left)
    }

    /// The right side of a product.
    fn factor(&mut self) -> Read<Expr> {
        self.enter(Rule::Calc)?;
        let expr = self.unary()?;
        self.leave(Rule::Calc, 1);
        Ok(expr)
    }

    fn unary(&mut self) -> Read<Expr> {
        self.sync(&[&OPERAND])?;
        let kind = self.peek();
        let number = matches!(self.peek_at(1), Tok::Int | Tok::Float);
        if !matches!(kind, Tok::Not | Tok::Minus) || kind == Tok::Minus && number {
            return self.member();
        }
        let first = self.next();
        let mut last = first;
        let mut count = 1;
        while let Some(token) = self.take(kind) {
            last = token;
            count += 1;
        }
        self.enter(Rule::Unary)?;
        self.operand_of(kind, last)?;
        let operand = self.member()?;
        self.leave(Rule::Unary, 1);
        if count % 2 == 0 {
            return Ok(operand);
        }
        let name = if kind == Tok::Not { op::NOT } else { op::NEGATE };
        self.call(first.start, name, vec![operand])
    }

    /// Reports unless an operand follows the sign at `last`.
    fn operand_of(&mut self, kind: Tok, last: Token) -> Read<()> {
        if OPERAND.contains(&self.peek()) {
            return Ok(());
        }
        if kind == Tok::Minus {
            let message = format!("no viable alternative at input '{}'", self.text_from(last.start));
            self.syntax_error(&message);
            return self.sync(&[&OPERAND]);
        }
        let names: Vec<&str> = OPERAND.iter().map(|tok| tok.name()).collect();
        let message = format!("extraneous input '{}' expecting {{{}}}", self.quoted(), names.join(", "));
        self.syntax_error(&message);
        Err(Stop)
    }

    /// The text from an offset to the end of the current token.
    fn text_from(&self, start: usize) -> String {
        let here = self.tokens[self.at];
        let end = match here.kind {
            Tok::Eof => self.tokens[..self.at].last().map_or(here.end, |token| token.end),
            _ => here.end,
        };
        quote(&self.source.chars[start.min(end)..end].iter().collect::<String>())
    }

    fn member(&mut self) -> Read<Expr> {
        self.enter(Rule::Member)?;
        let mut levels = 1;
        let mut expr = self.primary()?;
        loop {
            match self.peek() {
                Tok::Dot => {}
                Tok::LBracket => {}
                _ => break,
            }
            self.enter(Rule::Member)?;
            levels += 1;
            expr = if self.peek() == Tok::Dot {
                self.dot(expr)?
            } else {
                self.index(expr)?
            };
        }
        self.leave(Rule::Member, levels);
        Ok(expr)
    }

    /// `.field`, `.?field` or `.function(…)`
    fn dot(&mut self, operand: Expr) -> Read<Expr> {
        let dot = self.next();
        let optional = self.take(Tok::Question).is_some();
        let word = match self.peek() {
            Tok::Ident => self.next(),
            Tok::EscIdent => {
                let offset = self.next().start;
                return self.bad(offset, "unsupported syntax: '`'".to_string());
            }
            _ if optional => return self.no_optional_field(),
            _ => return self.no_field(dot),
        };
        let name: Arc<str> = self.text(word).into();
        if optional {
            let field = self.node(word.start, Kind::Literal(Literal::String(name)))?;
            return self.call(dot.start, op::OPT_SELECT, vec![operand, field]);
        }
        if let Some(open) = self.take(Tok::LParen) {
            let args = self.args()?;
            return self.call_or_macro(open.start, name, Some(operand), args);
        }
        self.node(
            dot.start,
            Kind::Select {
                operand: Box::new(operand),
                field: name,
                test: false,
            },
        )
    }

    fn no_optional_field(&mut self) -> Read<Expr> {
        let offset = self.tokens[self.at].start;
        let _reported = self.sync(&[&[Tok::Ident, Tok::EscIdent]]);
        let location = self.source.location(offset);
        self.errors.report(location, "unsupported ident kind");
        Err(Stop)
    }

    /// Something else than a name after a dot. Reading goes on at what can follow an operand.
    fn no_field(&mut self, dot: Token) -> Read<Expr> {
        let here = self.tokens[self.at];
        let message = match here.kind {
            Tok::True | Tok::False | Tok::Null if here.start == dot.end => {
                format!("mismatched input '{}' expecting IDENTIFIER", self.text(here))
            }
            _ => format!("no viable alternative at input '{}'", self.text_from(dot.start)),
        };
        self.syntax_error(&message);
        while !(FOLLOW.contains(&self.peek()) && self.peek() != Tok::LBracket && self.can_follow(self.peek())) {
            self.next();
        }
        self.recovering = true;
        self.node(dot.start, Kind::Bad)
    }

    fn index(&mut self, operand: Expr) -> Read<Expr> {
        let open = self.next();
        self.open.push(Tok::LBracket);
        self.sync(&[&OPERAND, &[Tok::Question]])?;
        let optional = self.take(Tok::Question).is_some();
        let index = self.expr()?;
        self.expect(Tok::RBracket, &FOLLOW)?;
        self.call(
            open.start,
            if optional { op::OPT_INDEX } else { op::INDEX },
            vec![operand, index],
        )
    }

    /// The arguments of a call and its closing parenthesis.
    fn args(&mut self) -> Read<Vec<Expr>> {
        let mut args = Vec::new();
        self.open.push(Tok::LParen);
        self.sync(&[&OPERAND, &[Tok::RParen]])?;
        if self.take(Tok::RParen).is_some() {
            self.open.pop();
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.take(Tok::Comma).is_none() {
                self.expect(Tok::RParen, &FOLLOW)?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Read<Expr> {
        let token = self.tokens[self.at];
        match token.kind {
            Tok::LParen => {
                self.next();
                self.open.push(Tok::LParen);
                let inner = self.expr()?;
                self.expect(Tok::RParen, &FOLLOW)?;
                Ok(inner)
            }
            Tok::LBracket => self.list(),
            Tok::LBrace => self.map(),
            Tok::Dot | Tok::Ident => self.name(),
            _ => self.literal(),
        }
    }

    fn literal(&mut self) -> Read<Expr> {
        let start = self.tokens[self.at].start;
        let sign = if self.take(Tok::Minus).is_some() { "-" } else { "" };
        let token = self.next();
        let text = self.text(token);
        let literal = match token.kind {
            Tok::Int => int(sign, &text).map(Literal::Int).ok_or("invalid int literal"),
            Tok::Uint => uint(&text).map(Literal::Uint).ok_or("invalid uint literal"),
            Tok::Float => match format!("{sign}{text}").parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Literal::Double(value)),
                _ => Err("invalid double literal"),
            },
            Tok::String => unescape(&text, false).and_then(|bytes| {
                let text = String::from_utf8(bytes).map_err(|_| "unable to unescape string")?;
                Ok(Literal::String(text.into()))
            }),
            Tok::Bytes => unescape(&text[1..], true).map(|bytes| Literal::Bytes(bytes.into())),
            Tok::True => Ok(Literal::Bool(true)),
            Tok::False => Ok(Literal::Bool(false)),
            Tok::Null => Ok(Literal::Null),
            _ => return Err(Stop),
        };
        match literal {
            Ok(literal) => self.node(start, Kind::Literal(literal)),
            Err(message) => self.bad(start, message.to_string()),
        }
    }

    /// An identifier, a call, or a message with its type's name (`a.b.C{…}`).
    fn name(&mut self) -> Read<Expr> {
        let start = self.tokens[self.at].start;
        let dot = self.take(Tok::Dot).map_or("", |_| ".");
        if self.peek() != Tok::Ident {
            let text: String = self.source.chars[start..self.tokens[self.at].end]
                .iter()
                .collect();
            self.syntax_error(&format!(
                "no viable alternative at input '{}'",
                quote(text.trim_end())
            ));
            return Err(Stop);
        }
        let mut length = 1;
        while self.peek_at(length) == Tok::Dot && self.peek_at(length + 1) == Tok::Ident {
            length += 2;
        }
        if self.peek_at(length) == Tok::LBrace {
            return self.message(dot);
        }
        let word = self.next();
        let name = self.text(word);
        let reserved = RESERVED.contains(&name.as_str());
        let open = self.take(Tok::LParen);
        if reserved {
            if open.is_some() {
                self.args()?;
            }
            return self.bad(start, format!("reserved identifier: {name}"));
        }
        let name: Arc<str> = format!("{dot}{name}").into();
        match open {
            Some(open) => {
                let args = self.args()?;
                self.call_or_macro(open.start, name, None, args)
            }
            None => self.node(word.start, Kind::Ident(name)),
        }
    }

    fn message(&mut self, dot: &str) -> Read<Expr> {
        let mut name = dot.to_string();
        while let Some(token) = self.take(Tok::Ident) {
            name.push_str(&self.text(token));
            if self.take(Tok::Dot).is_some() {
                name.push('.');
            }
        }
        let open = self.expect(Tok::LBrace, &[])?;
        self.open.push(Tok::LBrace);
        let mut fields = Vec::new();
        self.sync(&[&[Tok::RBrace, Tok::Comma, Tok::Question, Tok::Ident, Tok::EscIdent]])?;
        while matches!(self.peek(), Tok::Question | Tok::Ident | Tok::EscIdent) {
            let optional = self.take(Tok::Question).is_some();
            if self.peek() == Tok::EscIdent {
                let offset = self.next().start;
                return self.bad(offset, "unsupported syntax: '`'".to_string());
            }
            let field = self.expect(Tok::Ident, &[])?;
            let colon = self.expect(Tok::Colon, &OPERAND)?;
            let id = self.id(colon.start)?;
            let value = self.expr()?;
            fields.push(Field {
                id,
                name: self.text(field).into(),
                value,
                optional,
            });
            if self.peek() != Tok::Comma || !matches!(self.peek_at(1), Tok::Question | Tok::Ident | Tok::EscIdent) {
                break;
            }
            self.next();
        }
        self.close(Tok::RBrace)?;
        self.node(
            open.start,
            Kind::Struct {
                name: name.into(),
                fields,
            },
        )
    }

    fn list(&mut self) -> Read<Expr> {
        let open = self.next();
        self.open.push(Tok::LBracket);
        let (mut items, mut optional) = (Vec::new(), Vec::new());
        self.sync(&[&OPERAND, &[Tok::RBracket, Tok::Comma, Tok::Question]])?;
        while !matches!(self.peek(), Tok::RBracket | Tok::Comma) {
            optional.push(self.take(Tok::Question).is_some());
            items.push(self.expr()?);
            if !self.another() {
                break;
            }
            self.next();
        }
        self.close(Tok::RBracket)?;
        self.node(open.start, Kind::List { items, optional })
    }

    fn map(&mut self) -> Read<Expr> {
        let open = self.next();
        self.open.push(Tok::LBrace);
        let mut entries = Vec::new();
        self.sync(&[&OPERAND, &[Tok::RBrace, Tok::Comma, Tok::Question]])?;
        while !matches!(self.peek(), Tok::RBrace | Tok::Comma) {
            let optional = self.take(Tok::Question).is_some();
            let key = self.expr()?;
            self.expect(Tok::Colon, &OPERAND)?;
            let value = self.expr()?;
            entries.push(Entry { key, value, optional });
            if !self.another() {
                break;
            }
            self.next();
        }
        self.close(Tok::RBrace)?;
        self.node(open.start, Kind::Map(entries))
    }

    /// Whether a comma and one more element follow.
    fn another(&self) -> bool {
        let next = self.peek_at(1);
        self.peek() == Tok::Comma && (next == Tok::Question || OPERAND.contains(&next))
    }

    /// The end of a list or map, before which a comma may stand.
    fn close(&mut self, kind: Tok) -> Read<()> {
        if self.take(Tok::Comma).is_none() && self.peek() != kind {
            self.sync(&[&[kind, Tok::Comma]])?;
        }
        self.expect(kind, &FOLLOW).map(|_| ())
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
const FOLLOW: [Tok; 21] = [
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

fn quote(text: &str) -> String {
    text.replace('\n', "\\n")
        .replace('\t', "\\t")
        .replace('\r', "\\r")
}

fn balanced(name: &str, terms: &mut [Option<Expr>], ops: &[Id], low: usize, high: usize) -> Option<Expr> {
    let middle = (low + high).div_ceil(2);
    let left = if middle == low {
        terms[middle].take()?
    } else {
        balanced(name, terms, ops, low, middle - 1)?
    };
    let right = if middle == high {
        terms[middle + 1].take()?
    } else {
        balanced(name, terms, ops, middle + 1, high)?
    };
    Some(Expr {
        id: ops[middle],
        kind: Kind::Call {
            target: None,
            name: name.into(),
            args: vec![left, right],
        },
    })
}

fn int(sign: &str, text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
        None => format!("{sign}{text}").parse().ok(),
    }
}

fn uint(text: &str) -> Option<u64> {
    let text = &text[..text.len() - 1];
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
