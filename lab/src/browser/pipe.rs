//! The two pipes to the browser: messages end with a NUL byte.

use std::io;
use std::path::Path;

use nix::sys::stat::Mode;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;

use crate::error::LabError;

/// Our ends.
#[derive(Debug)]
pub(super) struct Pipes {
    commands: pipe::Sender,
    answers: BufReader<pipe::Receiver>,
}

impl Pipes {
    /// Makes both pipes in a folder, as `commands` and `answers`.
    pub(super) fn create(folder: &Path) -> Result<Self, LabError> {
        let make = |name: &str| {
            let place = folder.join(name);
            nix::unistd::mkfifo(&place, Mode::from_bits_truncate(0o600))
                .map_err(LabError::errno(format!("making the pipe {}", place.display())))?;
            Ok::<_, LabError>(place)
        };
        let (commands, answers) = (make("commands")?, make("answers")?);
        // Open for both ways (Linux allows that), so that neither side waits for the other to open its end.
        let mut options = pipe::OpenOptions::new();
        let options = options.read_write(true);
        Ok(Self {
            commands: options
                .open_sender(&commands)
                .map_err(LabError::io("opening the browser's commands"))?,
            answers: BufReader::new(
                options
                    .open_receiver(&answers)
                    .map_err(LabError::io("opening the browser's answers"))?,
            ),
        })
    }

    pub(super) async fn write(&mut self, message: &str) -> io::Result<()> {
        self.commands.write_all(message.as_bytes()).await?;
        self.commands.write_all(&[0]).await
    }

    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        self.answers.read_until(0, &mut message).await?;
        // The NUL.
        message.pop();
        Ok(message)
    }
}
