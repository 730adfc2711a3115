//! CEL's grammar by recursive descent. Macros are expanded on the way (`macros`).

use crate::ast::{Entry, Expr, Field, Id, Kind, Literal, op};
use crate::lexer::{Tok, Token};
use crate::literal::unescape;
use crate::parser::{FOLLOW, OPERAND, Parser, RESERVED, Read, Rule, Stop, quote};
use std::sync::Arc;

impl Parser<'_> {
    // expr: conditionalOr ('?' conditionalOr ':' expr)?
    pub fn expr(&mut self) -> Read<Expr> {
        let (before, start) = (self.before(), self.tokens[self.at].start);
        match self.conditional() {
            Err(Stop) => self.recover(before, start),
            read => read,
        }
    }

    fn conditional(&mut self) -> Read<Expr> {
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
        let (before, start) = (self.before(), self.tokens[self.at].start);
        match self.signed() {
            Err(Stop) => self.recover(before, start),
            read => read,
        }
    }

    fn signed(&mut self) -> Read<Expr> {
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
        let message = format!(
            "extraneous input '{}' expecting {{{}}}",
            self.quoted(),
            names.join(", ")
        );
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
        let start = self.tokens[self.at].start;
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
                self.dot(expr, start)?
            } else {
                self.index(expr)?
            };
        }
        self.leave(Rule::Member, levels);
        Ok(expr)
    }

    /// `.field`, `.?field` or `.function(…)`
    fn dot(&mut self, operand: Expr, start: usize) -> Read<Expr> {
        let dot = self.next();
        let optional = self.take(Tok::Question).is_some();
        let word = match self.peek() {
            Tok::Ident => self.next(),
            Tok::EscIdent => {
                let offset = self.next().start;
                return self.bad(offset, "unsupported syntax: '`'".to_string());
            }
            _ if optional => return self.no_optional_field(),
            _ => return self.no_field(dot, start),
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
    fn no_field(&mut self, dot: Token, start: usize) -> Read<Expr> {
        let here = self.tokens[self.at];
        let message = match here.kind {
            Tok::True | Tok::False | Tok::Null if here.start == dot.end => {
                format!("mismatched input '{}' expecting IDENTIFIER", self.text(here))
            }
            _ => format!("no viable alternative at input '{}'", self.text_from(dot.start)),
        };
        self.syntax_error(&message);
        self.recover(self.before(), start)
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
            if self.peek() != Tok::Comma
                || !matches!(self.peek_at(1), Tok::Question | Tok::Ident | Tok::EscIdent)
            {
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
            self.take(Tok::Comma);
        }
        self.expect(kind, &FOLLOW).map(|_| ())
    }
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
