//! The few system files that look different inside the lab, bind-mounted in its own mount namespace.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::error::LabError;

/// Every name comes from the lab's DNS. Where the file is missing or a dangling link, the C library asks 127.0.0.1,
/// where the DNS answers, too.
const RESOLV_CONF: &str = "nameserver 127.0.0.53\noptions timeout:2 attempts:2\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
/// Only files and DNS: other modules would ask services of the machine outside.
const NSSWITCH_CONF: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// Name-service caches of the machine outside that would answer instead of the lab's DNS.
const CACHES: [&str; 2] = ["/run/nscd", "/run/systemd/resolve"];

/// Puts generated files over the system's; `folder` keeps them.
///
/// # Errors
/// [`LabError::Io`] when a file cannot be written or mounted.
pub fn replace_name_service(folder: &Path) -> Result<(), LabError> {
    fs::create_dir_all(folder).map_err(LabError::io(format!("making {}", folder.display())))?;
    for (target, text) in [
        ("/etc/resolv.conf", RESOLV_CONF),
        ("/etc/hosts", HOSTS),
        ("/etc/nsswitch.conf", NSSWITCH_CONF),
    ] {
        let Some(name) = Path::new(target).file_name() else {
            continue;
        };
        let source = folder.join(name);
        fs::write(&source, text).map_err(LabError::io(format!("writing {}", source.display())))?;
        if Path::new(target).exists() {
            bind(&source, Path::new(target))?;
        }
    }
    for cache in CACHES.into_iter().map(Path::new).filter(|cache| cache.is_dir()) {
        // A linked resolv.conf lives in one of these folders and was mounted over above; leave that folder alone.
        if fs::canonicalize("/etc/resolv.conf").is_ok_and(|file| file.starts_with(cache)) {
            continue;
        }
        let empty = folder.join("empty");
        fs::create_dir_all(&empty).map_err(LabError::io(format!("making {}", empty.display())))?;
        bind(&empty, cache)?;
    }
    Ok(())
}

/// Shows a file or folder at another place as well, inside the lab only.
///
/// # Errors
/// [`LabError::Io`] when the target does not exist or the mount is refused.
pub fn bind(source: &Path, target: &Path) -> Result<(), LabError> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .map_err(LabError::errno(format!(
        "mounting {} over {}",
        source.display(),
        target.display()
    )))
}
