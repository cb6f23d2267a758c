//! What the kernel knows of a contender: CPU time, memory, and the ICMP messages of its network namespace.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::error::LabError;
use crate::namespace::Namespace;

/// ICMP messages of a namespace since it was made, from `/proc/net/snmp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IcmpCounts {
    /// Echo requests sent (`OutType8`).
    pub requests: u64,
    /// Echo replies that came in (`InType0`), whether or not a socket had room for them.
    pub replies: u64,
}

impl IcmpCounts {
    /// Reads the counters of a namespace.
    ///
    /// # Errors
    /// [`LabError::Io`] without `/proc`.
    pub fn of(namespace: &Namespace) -> Result<Self, LabError> {
        let path = "/proc/thread-self/net/snmp";
        let text = namespace.run(|| fs::read_to_string(path).map_err(LabError::io(format!("reading {path}"))))??;
        Ok(Self::parse(&text))
    }

    /// Takes the counters out of the text of `/proc/net/snmp`; a type that never occurred has no column there.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut rows = text.lines().filter_map(|line| line.strip_prefix("IcmpMsg: "));
        let (names, values) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
        let find = |wanted: &str| {
            let mut pairs = names.split(' ').zip(values.split(' '));
            let found = pairs.find(|(name, _)| *name == wanted);
            found.and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
        };
        Self {
            requests: find("OutType8"),
            replies: find("InType0"),
        }
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            replies: self.replies.saturating_sub(earlier.replies),
        }
    }
}

/// Memory of a process, from `/proc/<pid>/status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now (`VmRSS`), in bytes.
    pub resident_bytes: u64,
    /// Most that ever was resident (`VmHWM`), in bytes.
    pub peak_bytes: u64,
}

impl Memory {
    /// Reads a process's memory.
    ///
    /// # Errors
    /// [`LabError::Io`] when the process is gone.
    pub fn of(pid: u32) -> Result<Self, LabError> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).map_err(LabError::io(format!("reading {path}")))?;
        Ok(Self::parse(&text))
    }

    /// Takes the figures out of the text of `/proc/<pid>/status`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let find = |wanted: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(wanted));
            let kibibytes = lines
                .next()
                .and_then(|rest| rest.trim_end_matches("kB").trim().parse::<u64>().ok());
            kibibytes.unwrap_or_default() * 1024
        };
        Self {
            resident_bytes: find("VmRSS:"),
            peak_bytes: find("VmHWM:"),
        }
    }
}

/// CPU time of all threads of a process so far, user and system, to the nanosecond (`/proc/<pid>/stat` counts in 10 ms).
///
/// # Errors
/// [`LabError::Io`] when the process is gone.
pub fn cpu_time(pid: u32) -> Result<Duration, LabError> {
    let doing = || LabError::errno(format!("reading the CPU time of process {pid}"));
    let pid = i32::try_from(pid).map_err(|_| doing()(nix::Error::ESRCH))?;
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).map_err(doing())?;
    clock_gettime(clock).map(Duration::from).map_err(doing())
}

/// CPU time that the whole machine spent on anything but idling, in ticks of 10 ms, from the text of `/proc/stat`.
fn parse_busy(text: &str) -> Duration {
    let fields = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user already.
    let ticks = fields
        .iter()
        .take(8)
        .enumerate()
        .filter(|(index, _)| ![3, 4].contains(index))
        .map(|(_, ticks)| ticks);
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// CPU time that the whole machine has spent so far.
///
/// # Errors
/// [`LabError::Io`] without `/proc`.
pub fn machine_busy() -> Result<Duration, LabError> {
    fs::read_to_string("/proc/stat")
        .map_err(LabError::io("reading /proc/stat"))
        .map(|text| parse_busy(&text))
}

/// CPU time of all children that have ended so far.
///
/// # Errors
/// [`LabError::Io`] when the kernel does not say.
pub fn ended_children_cpu_time() -> Result<Duration, LabError> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(LabError::errno("reading the CPU time of children"))?;
    let micros = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    Ok(Duration::from_micros(
        u64::try_from(micros.into_iter().sum::<i64>()).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_counters_are_found_by_name() {
        let text = "Icmp: InMsgs OutMsgs\nIcmp: 7 8\nIcmpMsg: InType0 InType3 InType8 OutType0 OutType8\nIcmpMsg: 5 1 9 9 6\nTcp: A\n";
        let expected = IcmpCounts {
            requests: 6,
            replies: 5,
        };
        assert_eq!(IcmpCounts::parse(text), expected);
        assert_eq!(IcmpCounts::parse("Icmp: InMsgs\nIcmp: 0\n"), IcmpCounts::default());
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t    21000 kB\nVmRSS:\t    20000 kB\n";
        let memory = Memory::parse(text);
        assert_eq!((memory.resident_bytes, memory.peak_bytes), (20_480_000, 21_504_000));
    }

    #[test]
    fn busy_time_leaves_idling_out() {
        assert_eq!(
            parse_busy("cpu  1 2 3 1000 1000 4 5 6 0 0\ncpu0 1"),
            Duration::from_millis(210)
        );
    }

    #[test]
    fn own_cpu_time_grows() {
        let before = cpu_time(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while cpu_time(std::process::id()).unwrap() == before {
            sum = std::hint::black_box(sum + 1);
        }
    }
}
