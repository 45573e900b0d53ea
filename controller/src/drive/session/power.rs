//! Switching machines: restarting the host, waking others near it.

use std::time::Duration;

use weiche_agent::protocol::{Reply, Request};

use super::{Result, Session};

impl Session {
    /// Lets the host wake another one on its networks; tells on how many.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn wake(&mut self, mac: &str, within: Duration) -> Result<u32> {
        match self.ask(&Request::Wake { mac: mac.to_owned() }, within).await? {
            Reply::Woken { packets } => Ok(packets),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Asks the host to restart, if it still runs the boot with this id.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn reboot(&mut self, boot_id: &str, within: Duration) -> Result<()> {
        let request = Request::Reboot { boot_id: boot_id.to_owned(), expect: self.expect.clone() };
        match self.ask(&request, within).await? {
            Reply::End => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }
}
