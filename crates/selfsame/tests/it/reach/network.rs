//! Another machine on the LAN, as far as the network is concerned: a network namespace with a wire to ours.

use std::net::Ipv4Addr;
use std::process::Command as Blocking;

use tokio::process::Command;

/// A namespace, the wire to it, and their names. Ends with the test.
pub struct Network {
    namespace: String,
    wire: String,
    here: Ipv4Addr,
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Blocking::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

impl Network {
    /// Makes one. `None`, with a line on standard error, where that takes more rights than we have; CI has to have them.
    pub fn new() -> Option<Self> {
        let number = std::process::id();
        let [.., third, fourth] = number.to_be_bytes();
        let (namespace, wire) = (format!("selfsame-{number}"), format!("ss{number}"));
        // Two processes at a time never have the same number, and so not the same four addresses.
        let subnet = u32::from(Ipv4Addr::new(10, 200 + third / 64, 0, 0)) + (u32::from(third % 64) << 10);
        let subnet = subnet + (u32::from(fourth) << 2);
        let [here, there] = [1, 2].map(|host| Ipv4Addr::from(subnet + host));
        let network = Self { namespace, wire, here };
        match network.connect(there) {
            Ok(()) => Some(network),
            Err(error) => {
                let text =
                    format!("no network namespace could be made, which takes root and iproute2: {error}");
                assert!(std::env::var_os("CI").is_none(), "{text}");
                eprintln!("not tested: {text}");
                None
            }
        }
    }

    fn connect(&self, there: Ipv4Addr) -> Result<(), String> {
        let (namespace, wire) = (self.namespace.as_str(), self.wire.as_str());
        ip(&["netns", "add", namespace])?;
        ip(&["link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", namespace])?;
        ip(&["addr", "add", &format!("{}/30", self.here), "dev", wire])?;
        ip(&["link", "set", wire, "up"])?;
        ip(&["-n", namespace, "addr", "add", &format!("{there}/30"), "dev", "eth0"])?;
        ip(&["-n", namespace, "link", "set", "eth0", "up"])
    }

    /// Our address on the wire.
    pub fn here(&self) -> Ipv4Addr {
        self.here
    }

    /// A program on the other machine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]).kill_on_drop(true);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The wire goes with the namespace; both may be missing if they could not be made.
        let _ = ip(&["netns", "delete", &self.namespace]);
        let _ = ip(&["link", "delete", &self.wire]);
    }
}
