//! As much of PostgreSQL's protocol (PG-protocol) as it takes to see a commit go by, and its answer come back.
//!
//! A client sends units, each ended by a simple query or a sync; the server ends its answer to each with a `Z`. So a
//! commit's answer is known among those of other statements that are under way at the same time.

use std::collections::BTreeSet;

/// Longest message that is followed: far above anything that a client of ours sends. Beyond, it is passed on unread.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Codes in place of a version, with which a client asks for encryption (PG-protocol, "SSLRequest" and "GSSENCRequest").
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

/// How the commit that was waited for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Failed,
}

/// Where a connection is in its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// The client's first message has no type.
    #[default]
    Opening,
    /// The server answers with one letter whether it encrypts.
    Encryption,
    Open,
    /// Nothing can be read here.
    Opaque,
}

/// What is known of a conversation.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    phase: Phase,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    /// Names of statements that commit, and of portals with such a statement.
    statements: BTreeSet<Vec<u8>>,
    portals: BTreeSet<Vec<u8>>,
    /// Units that the client has ended, and those that the server has.
    asked: u64,
    answered: u64,
    /// The unit with the commit whose answer is waited for.
    awaited: Option<u64>,
}

impl Conversation {
    /// Takes in what the client sends. At a commit `is_wanted` is asked whether its answer is to be waited for.
    pub(super) fn client_said(&mut self, piece: &[u8], mut is_wanted: impl FnMut() -> bool) {
        if self.phase == Phase::Opaque {
            return;
        }
        self.from_client.extend_from_slice(piece);
        loop {
            let is_typed = self.phase == Phase::Open;
            match take(&mut self.from_client, is_typed) {
                Take::Message(kind, body) if is_typed => {
                    if self.asks(kind, &body) && self.awaited.is_none() && is_wanted() {
                        self.awaited = Some(self.asked);
                    }
                    // A simple query, a sync, and a function call.
                    self.asked += u64::from(b"QSF".contains(&kind));
                }
                Take::Message(_, body) => self.opens(&body),
                Take::Incomplete => return,
                Take::Unreadable => return self.phase = Phase::Opaque,
            }
        }
    }

    fn opens(&mut self, body: &[u8]) {
        let code = body.first_chunk().map(|code| u32::from_be_bytes(*code));
        if code.is_some_and(|code| ENCRYPTION.contains(&code)) {
            self.phase = Phase::Encryption;
        } else {
            self.phase = Phase::Open;
            self.asked += 1;
        }
    }

    /// Whether this message commits.
    fn asks(&mut self, kind: u8, body: &[u8]) -> bool {
        let mut texts = body.split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        match kind {
            b'Q' => return commits(text()),
            b'P' => {
                let (name, sql) = (text().to_owned(), text());
                if commits(sql) {
                    self.statements.insert(name);
                } else {
                    self.statements.remove(&name);
                }
            }
            b'B' => {
                let (portal, statement) = (text().to_owned(), text());
                if self.statements.contains(statement) {
                    self.portals.insert(portal);
                } else {
                    self.portals.remove(&portal);
                }
            }
            b'E' => return self.portals.contains(text()),
            // Closes a statement or a portal.
            b'C' => match text().split_first() {
                Some((b'S', name)) => drop(self.statements.remove(name)),
                Some((_, name)) => drop(self.portals.remove(name)),
                None => {}
            },
            _ => {}
        }
        false
    }

    /// Takes in what the server sends, and answers how the commit that was waited for has ended, once it has.
    pub(super) fn server_said(&mut self, piece: &[u8]) -> Option<Ending> {
        let piece = match (self.phase, piece) {
            (Phase::Opaque, _) => return None,
            (Phase::Encryption, [b'N', rest @ ..]) => {
                self.phase = Phase::Opening;
                rest
            }
            (Phase::Encryption, _) => {
                self.phase = Phase::Opaque;
                return None;
            }
            (Phase::Opening | Phase::Open, piece) => piece,
        };
        self.from_server.extend_from_slice(piece);
        loop {
            match take(&mut self.from_server, true) {
                Take::Message(b'C', body) if self.awaited == Some(self.answered) && body == b"COMMIT\0" => {
                    self.awaited = None;
                    return Some(Ending::Done);
                }
                Take::Message(b'Z', _) => {
                    let has_failed = self.awaited == Some(self.answered);
                    self.answered += 1;
                    if has_failed {
                        self.awaited = None;
                        return Some(Ending::Failed);
                    }
                }
                Take::Message(..) => {}
                Take::Incomplete => return None,
                Take::Unreadable => {
                    self.phase = Phase::Opaque;
                    return None;
                }
            }
        }
    }
}

/// Whether the last statement of this text is a commit.
fn commits(sql: &[u8]) -> bool {
    let sql = String::from_utf8_lossy(sql).to_ascii_lowercase();
    let Some(last) = sql.split(';').map(str::trim).rfind(|statement| !statement.is_empty()) else {
        return false;
    };
    matches!(last, "commit" | "commit work" | "commit transaction" | "end")
}

enum Take {
    /// Its type, or 0 where there is none, and what follows its length.
    Message(u8, Vec<u8>),
    Incomplete,
    Unreadable,
}

/// Takes the first message out of `buffer`.
fn take(buffer: &mut Vec<u8>, is_typed: bool) -> Take {
    let head = usize::from(is_typed);
    let Some(length) = buffer.get(head..).and_then(|rest| rest.first_chunk()) else {
        return Take::Incomplete;
    };
    // Counts itself, but not the type.
    let end = head + u32::from_be_bytes(*length) as usize;
    if end < head + 4 || end > MESSAGE_BYTES_MAX {
        return Take::Unreadable;
    }
    if buffer.len() < end {
        return Take::Incomplete;
    }
    let kind = if is_typed { buffer[0] } else { 0 };
    let body = buffer[head + 4..end].to_vec();
    buffer.drain(..end);
    Take::Message(kind, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, body: &str) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [kind.as_bytes(), &length.to_be_bytes(), body.as_bytes()].concat()
    }

    /// A conversation that has been opened.
    fn open() -> Conversation {
        let mut conversation = Conversation::default();
        conversation.client_said(&message("", "\0\x03\0\0user\0me\0\0"), || true);
        assert_eq!(conversation.server_said(&message("Z", "I")), None);
        conversation
    }

    fn execute(conversation: &mut Conversation, sql: &str) {
        let messages = [
            message("P", &format!("s1\0{sql}\0\0\0")),
            message("B", "p1\0s1\0\0\0\0\0\0\0"),
            message("E", "p1\0\0\0\0\0"),
            message("S", ""),
        ];
        conversation.client_said(&messages.concat(), || true);
    }

    #[test]
    fn a_simple_commit_and_its_answer_are_seen_byte_by_byte() {
        let mut conversation = open();
        for byte in message("Q", "insert into t values (';commit'); COMMIT;\0") {
            conversation.client_said(&[byte], || true);
        }
        let answer = [message("C", "INSERT 0 1\0"), message("C", "COMMIT\0")].concat();
        let endings: Vec<_> = answer.iter().filter_map(|byte| conversation.server_said(&[*byte])).collect();
        assert_eq!(endings, [Ending::Done]);
    }

    #[test]
    fn a_prepared_commit_is_seen_and_other_statements_are_not() {
        let mut conversation = open();
        execute(&mut conversation, "select 'commit'");
        assert_eq!(conversation.awaited, None);
        execute(&mut conversation, "commit");
        assert_eq!(conversation.awaited, Some(2));
        // The answers to both are still to come; only the second counts.
        let first = [message("C", "COMMIT\0"), message("Z", "I")].concat();
        assert_eq!(conversation.server_said(&first), None);
        assert_eq!(conversation.server_said(&message("C", "COMMIT\0")), Some(Ending::Done));
    }

    #[test]
    fn a_commit_that_fails_is_told_as_such() {
        let mut conversation = open();
        execute(&mut conversation, "commit");
        let answer = [message("E", "SERROR\0\0"), message("Z", "I")].concat();
        assert_eq!(conversation.server_said(&answer), Some(Ending::Failed));
        execute(&mut conversation, "commit");
        let answer = [message("C", "ROLLBACK\0"), message("Z", "I")].concat();
        assert_eq!(conversation.server_said(&answer), Some(Ending::Failed));
        execute(&mut conversation, "commit");
        assert_eq!(conversation.server_said(&message("C", "COMMIT\0")), Some(Ending::Done));
    }

    #[test]
    fn nothing_is_awaited_that_nobody_wants_and_nothing_is_read_that_is_encrypted() {
        let mut conversation = open();
        conversation.client_said(&message("Q", "commit\0"), || false);
        assert_eq!(conversation.server_said(&message("C", "COMMIT\0")), None);
        for (answer, phase) in [("N", Phase::Opening), ("S", Phase::Opaque)] {
            let mut conversation = Conversation::default();
            let request = [8_u32.to_be_bytes(), ENCRYPTION[0].to_be_bytes()].concat();
            conversation.client_said(&request, || true);
            assert_eq!(conversation.server_said(answer.as_bytes()), None);
            assert_eq!(conversation.phase, phase);
        }
    }

    #[test]
    fn bytes_that_are_no_protocol_are_left_alone() {
        let mut conversation = Conversation::default();
        conversation.client_said(b"GET / HTTP/1.1\r\n\r\n", || true);
        assert_eq!(conversation.phase, Phase::Opaque);
        assert_eq!(conversation.server_said(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
