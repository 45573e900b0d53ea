//! The POSIX access list of a file holds its mode a second time; a new mode has to change both, as chmod(2) does.

use super::metadata::{Xattrs, from_hex, to_hex};

/// The attribute, from acl(5).
const NAME: &str = "system.posix_acl_access";

/// Bytes of the version number that it begins with.
const HEADER: usize = 4;

/// Bytes of an entry: tag (16 bits), permissions (16 bits), id (32 bits); all little-endian
/// (`include/uapi/linux/posix_acl_xattr.h`).
const ENTRY: usize = 8;

const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Gives the access list, if there is one, the permissions of a mode: the mask stands for the group.
pub(super) fn chmod(xattrs: &mut Xattrs, mode: u32) {
    let Some(text) = xattrs.get_mut(NAME) else { return };
    let Ok(mut list) = from_hex(text) else { return };
    let tag = |entry: &[u8]| u16::from_le_bytes([entry[0], entry[1]]);
    let Some(entries) = list.get_mut(HEADER..) else { return };
    let masked = entries.chunks_exact(ENTRY).any(|entry| tag(entry) == MASK);
    for entry in entries.chunks_exact_mut(ENTRY) {
        let shift = match tag(entry) {
            USER_OBJ => 6,
            MASK => 3,
            GROUP_OBJ if !masked => 3,
            OTHER => 0,
            _ => continue,
        };
        entry[2] = u8::try_from(mode >> shift & 7).unwrap_or(0);
    }
    *text = to_hex(&list);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_takes_the_permissions_of_the_group() {
        // What `setfacl -m u:1234:r-x` and then `chmod` make of a file with mode 0640.
        let list = |user: &str, mask: &str, other: &str| {
            format!(
                "0200000001000{user}00ffffffff02000500d204000004000400ffffffff10000{mask}00ffffffff20000{other}00ffffffff"
            )
        };
        let mut xattrs = Xattrs::from([(NAME.to_owned(), list("6", "5", "0"))]);
        chmod(&mut xattrs, 0o4731);
        assert_eq!(xattrs[NAME], list("7", "3", "1"));
    }
}
