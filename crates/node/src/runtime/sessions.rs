//! Exec and attach: pipes whose other ends go straight to the process, so that the shim copies nothing of an exec.

use std::os::fd::{AsRawFd, OwnedFd};

use tokio::sync::oneshot;

use super::client::StreamConnection;
use super::pods::Pod;
use super::stream::{AttachGuard, ExecEnd, FdStream, Reader, Writer};
use super::*;
use crate::shim::fds;
use crate::shim::protocol::{Request, WireError};

type Opened = (StreamConnection, Result<Option<OwnedFd>, WireError>);

impl ShimRuntime {
    /// A shim that does not answer keeps nobody waiting; whoever ends the pod kills it.
    async fn open_stream(
        &self,
        pod: &Pod,
        request: Request,
        given: &[OwnedFd],
    ) -> Result<Opened, RuntimeError> {
        let limit = self.0.config.answer_limit;
        let opened = StreamConnection::open(&pod.uid, &pod.dir, request, given);
        tokio::time::timeout(limit, opened).await.unwrap_or_else(|_| {
            Err(RuntimeError::Internal(format!(
                "the pod's shim does not answer within {limit:?}"
            )))
        })
    }

    pub(super) async fn open_exec(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
    ) -> Result<ExecSession, RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        let io = |error: std::io::Error| RuntimeError::io("make a stream")(error);
        let (mut theirs, mut stdin, mut stdout, mut stderr) = (Vec::new(), None, None, None);
        if !spec.tty {
            if spec.stdin {
                let (reader, writer) = fds::pipe().map_err(io)?;
                theirs.push(reader);
                stdin = Some(Box::new(FdStream::new(writer).map_err(io)?) as Writer);
            }
            for (wanted, slot) in [(spec.stdout, &mut stdout), (spec.stderr, &mut stderr)] {
                if wanted {
                    let (reader, writer) = fds::pipe().map_err(io)?;
                    theirs.push(writer);
                    *slot = Some(Box::new(FdStream::new(reader).map_err(io)?) as Reader);
                }
            }
        }
        let request = Request::Exec {
            container: id.clone(),
            spec: Box::new(spec.clone()),
        };
        let (connection, answer) = self.open_stream(&pod, request, &theirs).await?;
        drop(theirs);
        let terminal = answer.map_err(RuntimeError::from_exec)?;
        let mut resize = None;
        if let Some(master) = terminal.filter(|_| spec.tty) {
            let clone = |fd: &OwnedFd| fd.try_clone().map_err(io);
            stdin = spec
                .stdin
                .then(|| FdStream::new(clone(&master)?).map_err(io))
                .transpose()?
                .map(|s| Box::new(s) as Writer);
            stdout = Some(Box::new(FdStream::new(clone(&master)?).map_err(io)?) as Reader);
            resize = Some(Box::new(move |size| fds::resize(master.as_raw_fd(), size)) as stream::Resizer);
        }
        let (mut sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            // Whoever drops the session drops the connection, and the shim kills the process.
            let ended = tokio::select! {
                ended = connection.exec_exit() => ended,
                () = sender.closed() => None,
            };
            if let Some((code, signal)) = ended
                && sender.send(ExecExit { code, signal }).is_err()
            {
                tracing::debug!("nobody waits for an exec's end");
            }
        });
        Ok(ExecSession {
            stdin,
            stdout,
            stderr,
            resize,
            exit: ExecEnd::new(receiver),
        })
    }

    pub(super) async fn open_attach(
        &self,
        id: &ContainerId,
        streams: AttachStreams,
    ) -> Result<AttachSession, RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        let io = |error: std::io::Error| RuntimeError::io("make a stream")(error);
        let (mut theirs, mut stdout, mut stderr) = (Vec::new(), None, None);
        for (wanted, slot) in [(streams.stdout, &mut stdout), (streams.stderr, &mut stderr)] {
            if wanted {
                let (reader, writer) = fds::pipe().map_err(io)?;
                theirs.push(writer);
                *slot = Some(Box::new(FdStream::new(reader).map_err(io)?) as Reader);
            }
        }
        let AttachStreams {
            stdin,
            stdout: out,
            stderr: err,
        } = streams;
        let request = Request::Attach {
            container: id.clone(),
            stdin,
            stdout: out,
            stderr: err,
        };
        let (connection, answer) = self.open_stream(&pod, request, &theirs).await?;
        drop(theirs);
        let input = answer.map_err(RuntimeError::from)?;
        let mut resize = None;
        if let Some(input) = &input {
            let terminal = input.try_clone().map_err(io)?;
            if nix::unistd::isatty(&terminal).unwrap_or(false) {
                resize =
                    Some(Box::new(move |size| fds::resize(terminal.as_raw_fd(), size)) as stream::Resizer);
            }
        }
        let stdin = input
            .map(FdStream::new)
            .transpose()
            .map_err(io)?
            .map(|s| Box::new(s) as Writer);
        Ok(AttachSession {
            stdin,
            stdout,
            stderr,
            resize,
            guard: AttachGuard::new(connection.into_socket()),
        })
    }
}
