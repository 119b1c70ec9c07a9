//! Reads from the page cache, which need no thread of their own.

use std::io;

use super::dir::Dir;

/// The outcome of a read from the cache.
pub(super) enum CachedRead<T> {
    Done(io::Result<Option<T>>),
    /// The read would wait for a disk.
    WouldBlock,
}

impl<T> CachedRead<T> {
    /// Applies `f` to what was read.
    pub(super) fn and_then<U>(self, f: impl FnOnce(T) -> Option<U>) -> CachedRead<U> {
        match self {
            Self::Done(read) => CachedRead::Done(read.map(|read| read.and_then(f))),
            Self::WouldBlock => CachedRead::WouldBlock,
        }
    }
}

impl Dir {
    /// Reads a file, unless that would wait for a disk.
    #[cfg(target_os = "linux")]
    pub(super) fn read_cached(&self, name: &str) -> CachedRead<Vec<u8>> {
        use std::fs::File;

        use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
        use rustix::io::{Errno, ReadWriteFlags, preadv2};

        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat2(
            CWD,
            self.path.join(name),
            flags,
            Mode::empty(),
            ResolveFlags::CACHED,
        ) {
            Ok(fd) => File::from(fd),
            // Either the name is not cached, or there is no such file or system call. The blocking
            // read finds out.
            Err(_) => return CachedRead::WouldBlock,
        };
        let metadata = match file.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return CachedRead::Done(Err(error)),
        };
        if !self.is_ours(&metadata) {
            return CachedRead::Done(Ok(None));
        }
        let mut bytes = vec![0; metadata.len() as usize];
        match preadv2(
            &file,
            &mut [io::IoSliceMut::new(&mut bytes)],
            0,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(read) if read == bytes.len() => CachedRead::Done(Ok(Some(bytes))),
            Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => CachedRead::WouldBlock,
            Err(error) => CachedRead::Done(Err(error.into())),
        }
    }

    /// Only Linux reports whether a read would wait.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn read_cached(&self, _: &str) -> CachedRead<Vec<u8>> {
        CachedRead::WouldBlock
    }
}
