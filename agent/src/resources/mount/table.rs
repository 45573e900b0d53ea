//! `/etc/fstab` as text: fstab(5). Blanks in fields are written in octal, as getmntent(3) reads them.

use super::{FSTAB, Spec, Wanted};
use crate::fault::{Fault, FaultCode};
use crate::resources::text::Text;

/// Makes the entry of the path be as wanted. One that says the same already stays as it is written.
pub(super) fn edit(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
    let ours = |line: &str| fields(line).get(1).is_some_and(|path| *path == spec.path);
    if spec.state == Wanted::Absent {
        text.retain(|line| !ours(line));
        return Ok(());
    }
    let Some(at) = text.find(0, ours) else {
        let end = text.len();
        text.insert(end, &line(spec));
        return Ok(());
    };
    if text.find(at + 1, ours).is_some() {
        let message = format!("{FSTAB} has several entries for {}", spec.path);
        return Err(Fault::new(FaultCode::Conflict, message).hint("remove all but one of them"));
    }
    let wanted = line(spec);
    let alike = |line: &str| padded(line) == padded(&wanted);
    if text.find(at, alike) != Some(at) {
        text.replace(at, &wanted);
    }
    Ok(())
}

fn line(spec: &Spec) -> String {
    let options = if spec.options.is_empty() { "defaults".to_owned() } else { spec.options.join(",") };
    let text = |field: &Option<String>| escaped(field.as_deref().unwrap_or("none"));
    let (device, kind) = (text(&spec.device), text(&spec.fs_type));
    format!("{device}\t{}\t{kind}\t{}\t{}\t{}", escaped(&spec.path), escaped(&options), spec.dump, spec.pass)
}

/// The fields of an entry, unescaped; none of a comment.
fn fields(line: &str) -> Vec<String> {
    if line.trim_start().starts_with('#') {
        return Vec::new();
    }
    line.split([' ', '\t']).filter(|f| !f.is_empty()).map(unescaped).collect()
}

/// With what fstab(5) says of missing fields.
fn padded(line: &str) -> Vec<String> {
    let mut fields = fields(line);
    for default in ["defaults", "0", "0"].iter().skip(fields.len().saturating_sub(3)) {
        fields.push((*default).to_owned());
    }
    fields
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012")
}

/// Takes `\040` and the like back, for this table and the kernel's.
pub(in crate::resources) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let octal = || {
            let digits = std::str::from_utf8(behind.get(..3)?).ok()?;
            u8::from_str_radix(digits, 8).ok()
        };
        match octal().filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OTHERS: &str = "# made at installation\nUUID=1 / ext4 errors=remount-ro 0 1\n";

    fn edited(spec: &Value, before: &str) -> String {
        let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
        let mut text = Text::parse(before.as_bytes());
        edit(&spec, &mut text).unwrap();
        String::from_utf8(text.bytes(std::path::Path::new(FSTAB)).unwrap()).unwrap()
    }

    #[test]
    fn entries_are_added_replaced_and_removed() {
        let spec = json!({ "path": "/srv/a b", "device": "LABEL=x", "type": "ext4", "options": ["ro"], "pass": 2 });
        let entry = "LABEL=x\t/srv/a\\040b\text4\tro\t0\t2\n";
        assert_eq!(edited(&spec, OTHERS), format!("{OTHERS}{entry}"));
        assert_eq!(edited(&spec, &format!("{OTHERS}{entry}#end\n")), format!("{OTHERS}{entry}#end\n"));
        assert_eq!(edited(&spec, &format!("/dev/sdb1 /srv/a\\040b ext4\n{OTHERS}")), format!("{entry}{OTHERS}"));
        let absent = json!({ "path": "/srv/a b", "state": "absent" });
        assert_eq!(edited(&absent, &format!("{OTHERS}{entry}")), OTHERS);
        assert_eq!(edited(&absent, OTHERS), OTHERS);
    }

    #[test]
    fn the_same_in_other_words_stays() {
        let spec = json!({ "path": "/srv", "device": "/dev/sdb1", "type": "ext4" });
        for line in
            ["/dev/sdb1   /srv ext4\n", "/dev/sdb1\t/srv\text4 defaults 0\n", "/dev/sdb1 /srv ext4 defaults 0 0\n"]
        {
            assert_eq!(edited(&spec, line), line);
        }
        assert_ne!(edited(&spec, "/dev/sdb1 /srv ext4 ro\n"), "/dev/sdb1 /srv ext4 ro\n");
        assert_ne!(edited(&spec, "# /dev/sdb1 /srv ext4\n"), "# /dev/sdb1 /srv ext4\n");
    }

    #[test]
    fn two_entries_are_nobodys_guess() {
        let spec: Spec = serde_json::from_value(json!({ "path": "/a", "device": "x", "type": "y" })).unwrap();
        let fault = edit(&spec, &mut Text::parse(b"a /a b\nc /a d\n")).unwrap_err();
        assert_eq!(fault.code, FaultCode::Conflict);
    }
}
