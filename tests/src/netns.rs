//! A lab: two network namespaces joined by a veth pair, with real kernel stacks on both sides.
//!
//! ```text
//!   namespace tg-<pid>-<n>-a                 namespace tg-<pid>-<n>-b
//!   va 10.77.0.1/24, fd77::1/64   <------>   vb 10.77.0.2/24, fd77::2/64
//!   (client, sends the floods)               (server, where tidegauge listens)
//! ```
//! A lab [`Lab::with_middle`] has a third namespace between the two, without addresses, and a pair of interfaces to each:
//!
//! ```text
//!   -a  va  <------>  ma  -m  mb  <------>  vb  -b
//! ```
//! There nothing passes that [`crate::middlebox`] does not pass on.
//!
//! The server's default route leads to the client with a permanent neighbour entry, so its answers to spoofed sources
//! leave through the veth pair as they would leave a real host. Router discovery, duplicate address detection and
//! link-local addresses are off: after a few multicast listener reports of its first seconds an idle lab is silent.
//!
//! A lab lives as long as its [`Lab`]. What a killed process left behind is removed by the next lab that anyone makes:
//! the name carries the owner's process id, and namespaces of dead owners are swept. Needs root and iproute2.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::syn_frame::Mac;

/// The client's interface.
pub const CLIENT_IFACE: &str = "va";
/// The server's interface.
pub const SERVER_IFACE: &str = "vb";
/// The middle's interface towards the client.
pub const MIDDLE_CLIENT_IFACE: &str = "ma";
/// The middle's interface towards the server.
pub const MIDDLE_SERVER_IFACE: &str = "mb";
/// The client's address.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// More addresses of the client, for loads that need more than one address's ports.
pub const CLIENT_EXTRA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 77, 0, 11),
    Ipv4Addr::new(10, 77, 0, 12),
    Ipv4Addr::new(10, 77, 0, 13),
    Ipv4Addr::new(10, 77, 0, 14),
];
/// The server's address.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The client's IPv6 address.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// The server's IPv6 address.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// The client's hardware address (locally administered).
pub const CLIENT_MAC: Mac = [0x02, 0x77, 0, 0, 0, 1];
/// The server's hardware address.
pub const SERVER_MAC: Mac = [0x02, 0x77, 0, 0, 0, 2];

const NAMESPACES: &str = "/run/netns";
const PREFIX: &str = "tg-";
/// Labs that one owner can have at a time.
const LABS_PER_OWNER_MAX: u32 = 256;
/// Set in a namespace before its interface exists, so that the interface starts silent.
const SETTINGS: [(&str, &str); 5] = [
    ("net/ipv4/ip_local_port_range", "1024 65535"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];
/// `ip netns add` is not safe against itself while the directory of namespaces is being set up.
static MAKING: Mutex<()> = Mutex::new(());

/// One end of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where clients and floods start.
    Client,
    /// Where the server and tidegauge run.
    Server,
}

/// What lies between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    /// One veth pair.
    Direct,
    /// A namespace, and a veth pair to each side.
    Middle,
}

/// Two joined namespaces, removed with everything that runs in them when this is dropped.
#[derive(Debug)]
pub struct Lab {
    /// `tg-<pid>-<n>`; the namespaces add `-a`, `-b` and `-m`.
    name: String,
    joint: Joint,
    has_ipv6: bool,
}

impl Lab {
    /// A lab of this process.
    ///
    /// # Errors
    /// Without root, without iproute2, or where the kernel refuses namespaces.
    pub fn new() -> Result<Self> {
        Self::owned_by(std::process::id())
    }

    /// A lab of this process with a namespace between the two sides.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn with_middle() -> Result<Self> {
        Self::joined(std::process::id(), Joint::Middle)
    }

    /// A lab that outlives its maker: it belongs to process `owner`, is swept when that one is dead, and is removed by
    /// [`Lab::remove_all_of`]. Call [`Lab::leave_up`] on it.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn owned_by(owner: u32) -> Result<Self> {
        Self::joined(owner, Joint::Direct)
    }

    fn joined(owner: u32, joint: Joint) -> Result<Self> {
        let _making = MAKING.lock().map_err(|_| anyhow!("making a lab panicked before"))?;
        sweep()?;
        let name = (0..LABS_PER_OWNER_MAX)
            .map(|n| format!("{PREFIX}{owner}-{n}"))
            // All of it: another thread may be taking a lab down, one namespace after the other.
            .find(|name| {
                ["a", "m", "b"].iter().all(|side| !namespace_path(&format!("{name}-{side}")).exists())
            })
            .with_context(|| format!("process {owner} already has {LABS_PER_OWNER_MAX} labs"))?;
        // From here on dropping the lab removes what was made so far.
        let lab = Self { name, joint, has_ipv6: Path::new("/proc/sys/net/ipv6").exists() };
        lab.make()?;
        Ok(lab)
    }

    /// Removes every lab of process `owner`, and whatever still runs in them.
    ///
    /// # Errors
    /// When a namespace cannot be removed.
    pub fn remove_all_of(owner: u32) -> Result<()> {
        remove_where(|name_owner| name_owner == owner)
    }

    /// Keeps the namespaces when this value goes.
    pub fn leave_up(self) {
        std::mem::forget(self);
    }

    /// The namespace's name, for `ip netns exec`.
    pub fn namespace(&self, side: Side) -> String {
        match side {
            Side::Client => format!("{}-a", self.name),
            Side::Server => format!("{}-b", self.name),
        }
    }

    /// The name of the namespace between the sides, where there is one.
    pub fn middle(&self) -> Option<String> {
        (self.joint == Joint::Middle).then(|| format!("{}-m", self.name))
    }

    /// Whether the kernel has IPv6, and so the lab.
    pub const fn has_ipv6(&self) -> bool {
        self.has_ipv6
    }

    /// A command that will run on one side. Its process is the program itself, so signals reach it.
    pub fn command(&self, side: Side, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(side)]).arg(program);
        command
    }

    /// Runs `work` on a thread of this process that has moved to one side: sockets opened there belong to it.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or when `work` panics.
    pub fn inside<T: Send>(&self, side: Side, work: impl FnOnce() -> T + Send) -> Result<T> {
        inside(&self.namespace(side), work)
    }

    /// The same between the sides.
    ///
    /// # Errors
    /// As [`Lab::inside`], and where there is nothing between the sides.
    pub fn inside_middle<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        inside(&self.middle().context("this lab has no middle")?, work)
    }

    fn make(&self) -> Result<()> {
        let (a, b) = (self.namespace(Side::Client), self.namespace(Side::Server));
        for namespace in self.namespaces() {
            ip(&format!("netns add {namespace}"))?;
            inside(&namespace, || write_settings(self.has_ipv6))??;
        }
        let (client_mac, server_mac) = (text(CLIENT_MAC), text(SERVER_MAC));
        self.join(&a, &b, &client_mac, &server_mac)?;
        self.add_address(&a, CLIENT_IFACE, CLIENT_V4.into())?;
        for address in CLIENT_EXTRA_V4 {
            self.add_address(&a, CLIENT_IFACE, address.into())?;
        }
        self.add_address(&a, CLIENT_IFACE, CLIENT_V6.into())?;
        self.add_address(&b, SERVER_IFACE, SERVER_V4.into())?;
        self.add_address(&b, SERVER_IFACE, SERVER_V6.into())?;
        for (namespace, iface) in [(&a, CLIENT_IFACE), (&b, SERVER_IFACE)] {
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set {iface} up"))?;
        }
        self.add_neighbour(&a, CLIENT_IFACE, SERVER_V4.into(), &server_mac)?;
        self.add_neighbour(&a, CLIENT_IFACE, SERVER_V6.into(), &server_mac)?;
        for address in [CLIENT_V4].iter().chain(&CLIENT_EXTRA_V4) {
            self.add_neighbour(&b, SERVER_IFACE, (*address).into(), &client_mac)?;
        }
        self.add_neighbour(&b, SERVER_IFACE, CLIENT_V6.into(), &client_mac)?;
        ip(&format!("-n {b} route add default via {CLIENT_V4}"))?;
        if self.has_ipv6 {
            ip(&format!("-n {b} -6 route add default via {CLIENT_V6} dev {SERVER_IFACE}"))?;
        }
        Ok(())
    }

    /// Makes the interfaces, and the middle where there is one.
    fn join(&self, a: &str, b: &str, client_mac: &str, server_mac: &str) -> Result<()> {
        let Some(middle) = self.middle() else {
            return ip(&format!(
                "-n {a} link add name {CLIENT_IFACE} address {client_mac} type veth \
                 peer name {SERVER_IFACE} address {server_mac} netns {b}"
            ));
        };
        let pairs = [
            (a, CLIENT_IFACE, client_mac, MIDDLE_CLIENT_IFACE),
            (b, SERVER_IFACE, server_mac, MIDDLE_SERVER_IFACE),
        ];
        for (namespace, iface, mac, opposite) in pairs {
            ip(&format!(
                "-n {namespace} link add name {iface} address {mac} type veth peer name {opposite} netns {middle}"
            ))?;
            ip(&format!("-n {middle} link set dev {opposite} up"))?;
        }
        Ok(())
    }

    /// All of them.
    fn namespaces(&self) -> Vec<String> {
        let sides = [Side::Client, Side::Server].map(|side| self.namespace(side));
        sides.into_iter().chain(self.middle()).collect()
    }

    fn add_address(&self, namespace: &str, iface: &str, address: IpAddr) -> Result<()> {
        match address {
            IpAddr::V4(address) => ip(&format!("-n {namespace} addr add {address}/24 dev {iface}")),
            IpAddr::V6(address) if self.has_ipv6 => {
                ip(&format!("-n {namespace} addr add {address}/64 dev {iface} nodad"))
            }
            IpAddr::V6(_) => Ok(()),
        }
    }

    fn add_neighbour(&self, namespace: &str, iface: &str, address: IpAddr, mac: &str) -> Result<()> {
        if address.is_ipv6() && !self.has_ipv6 {
            return Ok(());
        }
        ip(&format!("-n {namespace} neigh replace {address} lladdr {mac} dev {iface} nud permanent"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self.namespaces() {
            if let Err(error) = remove(&namespace) {
                eprintln!("could not remove namespace {namespace}: {error:#}");
            }
        }
    }
}

/// Runs `work` on a thread that has moved to a namespace.
fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let path = namespace_path(namespace);
    let namespace = fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
    let worker = move || -> Result<T> {
        setns(&namespace, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
        Ok(work())
    };
    thread::scope(|scope| scope.spawn(worker).join())
        .map_err(|_| anyhow!("the work inside the lab panicked"))?
}

/// Whether the calling thread is in a namespace that a lab made.
///
/// # Errors
/// When the thread's own namespace cannot be read.
pub fn inside_a_lab() -> Result<bool> {
    let own = fs::metadata("/proc/thread-self/ns/net").context("read this thread's network namespace")?;
    Ok(lab_namespaces()?.iter().any(|(name, _)| {
        fs::metadata(namespace_path(name)).is_ok_and(|lab| (lab.dev(), lab.ino()) == (own.dev(), own.ino()))
    }))
}

/// Removes the labs of processes that are no more.
///
/// # Errors
/// When a namespace cannot be removed.
pub fn sweep() -> Result<()> {
    remove_where(|owner| !Path::new(&format!("/proc/{owner}")).exists())
}

fn remove_where(is_meant: impl Fn(u32) -> bool) -> Result<()> {
    for (name, owner) in lab_namespaces()? {
        if is_meant(owner) {
            remove(&name)?;
        }
    }
    Ok(())
}

/// Names of all labs' namespaces with their owners' process ids.
fn lab_namespaces() -> Result<Vec<(String, u32)>> {
    let entries = match fs::read_dir(NAMESPACES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {NAMESPACES}")),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter_map(|name| owner_of(&name).map(|owner| (name, owner))).collect())
}

/// The process id in `tg-<pid>-<n>-<side>`.
fn owner_of(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let owner = parts.next()?.parse().ok()?;
    let _number: u32 = parts.next()?.parse().ok()?;
    (matches!(parts.next()?, "a" | "b" | "m") && parts.next().is_none()).then_some(owner)
}

/// Ends what runs in a namespace and deletes it. One that is already gone is fine: two sweeps may meet.
fn remove(namespace: &str) -> Result<()> {
    if !namespace_path(namespace).exists() {
        return Ok(());
    }
    for pid in processes_in(namespace) {
        // It may have ended by itself meanwhile; the namespace goes either way.
        let _ = kill(pid, Signal::SIGKILL);
    }
    // A namespace lives on while something still holds it; the veth pair must not.
    for iface in [CLIENT_IFACE, SERVER_IFACE] {
        let _ = ip(&format!("-n {namespace} link del {iface}"));
    }
    match ip(&format!("netns del {namespace}")) {
        Err(error) if namespace_path(namespace).exists() => Err(error),
        _ => Ok(()),
    }
}

fn processes_in(namespace: &str) -> Vec<Pid> {
    let Ok(output) = Command::new("ip").args(["netns", "pids", namespace]).output() else {
        return Vec::new();
    };
    let own = Pid::this();
    let pids = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect::<Vec<i32>>();
    pids.into_iter().map(Pid::from_raw).filter(|pid| *pid != own).collect()
}

/// Writes the settings of the calling thread's namespace.
fn write_settings(has_ipv6: bool) -> Result<()> {
    for (name, value) in SETTINGS {
        if has_ipv6 || !name.starts_with("net/ipv6") {
            fs::write(Path::new("/proc/sys").join(name), value)
                .with_context(|| format!("set {name} to {value}"))?;
        }
    }
    Ok(())
}

fn namespace_path(name: &str) -> std::path::PathBuf {
    Path::new(NAMESPACES).join(name)
}

fn text(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// Runs `ip` with words separated by white space.
fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip").args(words.split_whitespace()).output();
    let output = output.context("run `ip` (Debian package iproute2)")?;
    if !output.status.success() {
        bail!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    ensure!(output.stderr.is_empty(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_labs_have_an_owner() {
        assert_eq!(owner_of("tg-123-0-a"), Some(123));
        for other in ["tg-123-0", "tg-x-0-a", "tg-1-0-c", "tg-1-0-a-b", "docker-1-0-a"] {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }

    #[test]
    fn hardware_addresses_print_as_ip_reads_them() {
        assert_eq!(text(CLIENT_MAC), "02:77:00:00:00:01");
    }
}
