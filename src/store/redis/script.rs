//! Scripts, which the server runs atomically.

use redis::Cmd;

/// A script on one key.
pub(super) struct Script {
    code: String,
    /// Its SHA-1, by which the server knows a script that it has run before.
    hash: String,
}

impl Script {
    pub(super) fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        Self {
            hash: redis::Script::new(&code).get_hash().to_owned(),
            code,
        }
    }

    /// Returns the command that runs the script if the server knows it.
    pub(super) fn by_hash(&self, key: &str, arguments: &[&[u8]]) -> Cmd {
        command("EVALSHA", &self.hash, key, arguments)
    }

    /// Returns the command that runs the script, and makes it known.
    pub(super) fn in_full(&self, key: &str, arguments: &[&[u8]]) -> Cmd {
        command("EVAL", &self.code, key, arguments)
    }
}

fn command(name: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
    let size: usize = arguments.iter().map(|argument| argument.len()).sum();
    // With room for all, so that it is allocated once.
    let mut command = Cmd::with_capacity(
        4 + arguments.len(),
        name.len() + script.len() + 1 + key.len() + size,
    );
    command.arg(name).arg(script).arg(1).arg(key).arg(arguments);
    command
}
