//! Cases of what dnf says.

use super::{Row, interrupted, lines, refusal, table};
use crate::fault::FaultCode;
use crate::host::Output;

/// Of dnf 4.14, on 80 columns.
const INSTALL: &str = "\
Last metadata expiration check: 0:00:10 ago on Mon Mar  2 08:00:00 2026.
Dependencies resolved.
================================================================================
 Package                                                Arch   Version
                                                                     Repo  Size
================================================================================
Installing:
 council-named-so-that-its-row-is-too-long-for-one-line noarch 1.0-1 town 6.6 k
 nginx                x86_64   1:1.20.1-16.el9_4.1          appstream     36 k
     replacing  council-old.noarch 1.0-1
Upgrading:
 council-library-with-a-very-long-name-indeed-that-fills-it-all
                      x86_64   2.0-1.el9                    town         6.3 k
Installing dependencies:
 nginx-core           x86_64   1:1.20.1-16.el9_4.1          appstream    571 k
Installing weak dependencies:
 redhat-logos-httpd   noarch   90.4-2.el9                   appstream     15 k

Transaction Summary
================================================================================
Install  4 Packages

Total download size: 1 M
Operation aborted.
";

/// Of `dnf shell`.
const MIXED: &str = "\
Last metadata expiration check: 0:00:48 ago on Mon Mar  2 08:00:00 2026.
> > > > ================================================================================
 Package              Architecture  Version           Repository           Size
================================================================================
Removing:
 council-extra        noarch        1.0-1             @town                16  
Removing dependent packages:
 council-more         noarch        1.0-1             @town                 0  
Downgrading:
 council-app          noarch        1:1.0-1           @commandline        6.3 k
Skipping packages with broken dependencies:
 council-broken       noarch        1.0-1             town                6.3 k

Transaction Summary
================================================================================
Remove     2 Packages
Downgrade  1 Package
";

fn row(name: &str, version: &str, comes: bool, new: bool) -> Row {
    Row { name: name.into(), version: version.into(), comes, new }
}

#[test]
fn tables_are_read() {
    let expected = [
        row("council-named-so-that-its-row-is-too-long-for-one-line", "1.0-1.noarch", true, true),
        row("nginx", "1:1.20.1-16.el9_4.1.x86_64", true, true),
        row("council-old", "1.0-1.noarch", false, false),
        row("council-library-with-a-very-long-name-indeed-that-fills-it-all", "2.0-1.el9.x86_64", true, false),
        row("nginx-core", "1:1.20.1-16.el9_4.1.x86_64", true, true),
        row("redhat-logos-httpd", "90.4-2.el9.noarch", true, true),
    ];
    assert_eq!(table(INSTALL), Ok(expected.into()));
    let expected = [
        row("council-extra", "1.0-1.noarch", false, false),
        row("council-more", "1.0-1.noarch", false, false),
        row("council-app", "1:1.0-1.noarch", true, false),
    ];
    assert_eq!(table(MIXED), Ok(expected.into()));
    assert_eq!(table("Dependencies resolved.\nNothing to do.\nComplete!\n"), Ok(Vec::new()));
}

#[test]
fn module_streams_are_refused() {
    let said = "Installing:\n nginx x86_64 1:1.14.1-9 appstream 570 k\nEnabling module streams:\n nginx  1.14\n\n";
    assert_eq!(table(said).unwrap_err().code, FaultCode::Unsupported);
}

#[test]
fn a_transaction_that_was_cut_off_is_found() {
    let said = "Return-Code    : Failure: 1\nPackages Altered:\n ** Install council-slow-1.0-1.noarch @town\n \
        ** Upgraded  council-app-1:1.0-1.noarch @@System\n    Install  sh-1-1.noarch @town\n";
    let expected =
        [row("council-slow", "1.0-1.noarch", true, true), row("council-app", "1:1.0-1.noarch", false, false)];
    assert_eq!(interrupted(said), expected);
}

#[test]
fn refusals_are_told_apart() {
    #[rustfmt::skip]
    let cases = [
        ("No match for argument: nothing\nError: Unable to find a match: nothing\n", FaultCode::NotFound,
            "No match for argument: nothing; Error: Unable to find a match: nothing"),
        ("Error: \n Problem: conflicting requests\n  - nothing provides x needed by y-1.0-1.noarch\n", FaultCode::Conflict,
            "Problem: conflicting requests; - nothing provides x needed by y-1.0-1.noarch"),
        ("> > Error: \n Problem: The operation would result in removing the following protected packages: dnf\n",
            FaultCode::Conflict,
            "Problem: The operation would result in removing the following protected packages: dnf"),
        ("Error: Failed to download metadata for repo 'town'\n", FaultCode::CommandFailed,
            "Error: Failed to download metadata for repo 'town'"),
        ("Error Summary\nDisk Requirements:\n   At least 5MB more space needed on the / filesystem.\n", FaultCode::NoSpace,
            "Error Summary"),
        ("Failed to obtain the transaction lock\n", FaultCode::Busy, "Failed to obtain the transaction lock"),
    ];
    for (stderr, code, cause) in cases {
        let output = Output { status: 1, stdout: String::new(), stderr: stderr.into() };
        let fault = refusal(&output, "install x");
        assert_eq!(fault.code, code, "{stderr}");
        assert!(format!("{fault:?}").contains(cause), "{fault:?}");
    }
}

#[test]
fn prompts_are_no_part_of_a_line() {
    let output = Output { status: 0, stdout: "> > Error: x\n".into(), stderr: String::new() };
    assert_eq!(lines(&output).collect::<Vec<_>>(), ["Error: x"]);
}
