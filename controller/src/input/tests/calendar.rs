//! Windows, time zones, holidays and approvers: what is understood, and mistakes in them.

use super::*;
use crate::calendar::{Fit, Rule};
use crate::input::load::load;

const SIGNERS: &str = "\
# Who may approve.
anna@kitu.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7
";

fn member(more: &str) -> String {
    format!("{MEMBER}{more}\n")
}

#[test]
fn windows_are_understood() {
    let mut texts = good();
    texts.insert("weiche.yaml", CONFIG.to_owned() + "holidays: DE-ST\n");
    let windows = "windows:
  weekend: { from: fri 18:00, to: sun 22:00, reserve: 2h, holidays: also, except: [2026-12-24, 2026-12-31] }
  office: { from: mon 07:00, to: mon 16:00, holidays: no }
  bank: { from: mon 07:00, to: mon 16:00, holidays: only }
  xmas: { from: 2026-12-23 18:00, to: 2026-12-27 06:00, reserve: 2h }
  night: { from: 20:00, to: 05:00 }
  sunday: { from: Sun 00:00, to: sun 24:00 }
  always: { from: 00:00, to: 24:00 }";
    texts.insert("members/alpha.yaml", member(windows));
    let fleet = fleet(&texts);
    let window = |name: &str| fleet.window("alpha", name).unwrap();
    assert_eq!(window("weekend").to_string(), "fri 18:00 to sun 22:00 (Europe/Berlin)");
    assert_eq!((window("weekend").reserve_ms, window("weekend").except.len()), (7_200_000, 2));
    let rule = |name: &str| window(name).holidays.map(|rule| rule.rule);
    let rules = ["weekend", "office", "bank", "night"].map(rule);
    assert_eq!(rules, [Some(Rule::Also), Some(Rule::No), Some(Rule::Only), None]);
    assert_eq!(window("night").to_string(), "20:00 to 05:00 (Europe/Berlin)");
    assert_eq!(window("xmas").to_string(), "2026-12-23 18:00 to 2026-12-27 06:00 (Europe/Berlin)");
    assert!(matches!(window("xmas").fits(0, 60_000), Fit::Later { .. }));
    assert_eq!(window("sunday").pattern.minutes(), 24 * 60);
    assert!(matches!(window("always").fits(0, 1_000_000_000_000), Fit::Now { .. }));
    assert_eq!(fleet.window("alpha", "easter"), None);
    assert_eq!(fleet.window("beta", "night"), None);
}

#[test]
fn windows_that_cannot_be_meant() {
    let windows = "windows:
  a: { from: fry 18:00, to: sun 22:00 }";
    insta::assert_snapshot!(spoiled("members/alpha.yaml", member(windows)), @r###"
  x `fry` is no day of the week: write `mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun`, perhaps
  | `fri`
    ,-[members/alpha.yaml:10:14]
  9 | windows:
 10 |   a: { from: fry 18:00, to: sun 22:00 }
    :              ^^^^^^^^^
    `----

1 error
"###);
    let windows = "windows:
  back: { from: 2026-12-27 06:00, to: 2026-12-23 18:00 }
  mixed: { from: fri 18:00, to: 06:00 }
  empty: { from: 20:00, to: 20:00 }
  zero: { from: 00:00, to: 00:00 }
  short: { from: sat 22:00, to: sun 06:00, reserve: 8h }
  rule: { from: fri 18:00, to: sun 22:00, holidays: no }
  once: { from: 2026-12-23 18:00, to: 2026-12-27 06:00, except: [2026-12-24] }
  twice: { from: fri 18:00, to: sun 22:00, except: [2026-12-24, 2026-12-24] }";
    insta::assert_snapshot!(spoiled("members/alpha.yaml", member(windows)), @r###"
  x the window `back`: `to` is before `from`
    ,-[members/alpha.yaml:10:17]
  9 | windows:
 10 |   back: { from: 2026-12-27 06:00, to: 2026-12-23 18:00 }
    :                 ^^^^^^^^|^^^^^^^      ^^^^^^^^^^^^^^^^
    :                         `-- `from` is here
 11 |   mixed: { from: fri 18:00, to: 06:00 }
    `----
  help: exchange them

  x the window `mixed`: `from` and `to` are of different forms
    ,-[members/alpha.yaml:11:18]
 10 |   back: { from: 2026-12-27 06:00, to: 2026-12-23 18:00 }
 11 |   mixed: { from: fri 18:00, to: 06:00 }
    :                  ^^^^|^^^^      ^^^^^
    :                      `-- `from` is here
 12 |   empty: { from: 20:00, to: 20:00 }
    `----
  help: write both as times (20:00), as days with times (fri 18:00) or as dates

  x the window `empty`: `from` and `to` are the same time
    ,-[members/alpha.yaml:12:18]
 11 |   mixed: { from: fri 18:00, to: 06:00 }
 12 |   empty: { from: 20:00, to: 20:00 }
    :                  ^^|^^      ^^^^^
    :                    `-- `from` is here
 13 |   zero: { from: 00:00, to: 00:00 }
    `----
  help: a window that is open all day, every day goes from 00:00 to 24:00

  x the window `zero`: `from` and `to` are the same time
    ,-[members/alpha.yaml:13:17]
 12 |   empty: { from: 20:00, to: 20:00 }
 13 |   zero: { from: 00:00, to: 00:00 }
    :                 ^^|^^      ^^^^^
    :                   `-- `from` is here
 14 |   short: { from: sat 22:00, to: sun 06:00, reserve: 8h }
    `----
  help: a window that is open all day, every day goes from 00:00 to 24:00

  x the reserve of the window `short` leaves no time to work
    ,-[members/alpha.yaml:14:53]
 13 |   zero: { from: 00:00, to: 00:00 }
 14 |   short: { from: sat 22:00, to: sun 06:00, reserve: 8h }
    :                                                     ^^
 15 |   rule: { from: fri 18:00, to: sun 22:00, holidays: no }
    `----
  help: make `reserve` shorter than the window

  x the window `rule` goes by public holidays, and the fleet has none
    ,-[members/alpha.yaml:15:53]
 14 |   short: { from: sat 22:00, to: sun 06:00, reserve: 8h }
 15 |   rule: { from: fri 18:00, to: sun 22:00, holidays: no }
    :                                                     ^^
 16 |   once: { from: 2026-12-23 18:00, to: 2026-12-27 06:00, except: [2026-12-24] }
    `----
  help: add `holidays: DE-ST` to weiche.yaml

  x the window `once` opens once: `except` means nothing there
    ,-[members/alpha.yaml:16:66]
 15 |   rule: { from: fri 18:00, to: sun 22:00, holidays: no }
 16 |   once: { from: 2026-12-23 18:00, to: 2026-12-27 06:00, except: [2026-12-24] }
    :                                                                  ^^^^^^^^^^
 17 |   twice: { from: fri 18:00, to: sun 22:00, except: [2026-12-24, 2026-12-24] }
    `----
  help: leave `except` out

  ! `2026-12-24` is there twice
    ,-[members/alpha.yaml:17:53]
 16 |   once: { from: 2026-12-23 18:00, to: 2026-12-27 06:00, except: [2026-12-24] }
 17 |   twice: { from: fri 18:00, to: sun 22:00, except: [2026-12-24, 2026-12-24] }
    :                                                     ^^^^^|^^^^  ^^^^^^^^^^
    :                                                          `-- first here
    `----

7 errors, 1 warning
"###);
    let mut texts = good();
    texts.insert("weiche.yaml", CONFIG.to_owned() + "holidays: DE-ST\n");
    texts.insert("members/alpha.yaml", member("windows: { night: { from: 20:00, to: 05:00, holidays: also } }"));
    insta::assert_snapshot!(complaint(&texts), @r###"
  x the window `night` opens every day, on public holidays anyway
   ,-[members/alpha.yaml:9:55]
 8 |   - { name: pc-1, site: rathaus }
 9 | windows: { night: { from: 20:00, to: 05:00, holidays: also } }
   :                                                       ^^^^
   `----
  help: leave `holidays` out

1 error
"###);
}

#[test]
fn values_that_are_no_moments() {
    let said = |window: &str| {
        let text = spoiled("members/alpha.yaml", member(&format!("windows: {{ w: {window} }}")));
        let lines = text.lines().filter(|line| line.trim_start().starts_with("x ") || line.contains("help:"));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
    };
    let windows = [
        "{ from: fri, to: sun 22:00 }",
        "{ from: friday 18:00, to: sun 22:00 }",
        "{ from: fri 25:00, to: sun 22:00 }",
        "{ from: fri 24:01, to: sun 22:00 }",
        "{ from: 2026-02-30 18:00, to: 2026-03-01 22:00 }",
        "{ from: 20:00, to: 05:00, reserve: 2 h ago }",
        "{ from: 20:00, to: 05:00, reserve: 1 month }",
        "{ from: 20:00, to: 05:00, holidays: never }",
        "{ from: 20:00, to: 05:00, except: [24.12.2026] }",
        "{ from: 20:00 }",
    ];
    insta::assert_snapshot!(windows.map(said).join("\n\n"), @r###"
x `fri` has no time of day at its end: write e.g. `18:00` (00:00 to 24:00)

x `friday` is no day of the week: write `mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun`,

x `fri 25:00` has no time of day at its end: write e.g. `18:00` (00:00 to 24:00)

x `fri 24:01` has no time of day at its end: write e.g. `18:00` (00:00 to 24:00)

x `2026-02-30` is no date: write e.g. `2026-12-23 18:00`

x expected a duration such as `30s`, `2h` or `14d`, found the text `2 h ago`

x expected a duration such as `30s`, `2h` or `14d`, found the text `1 month`

x unknown value `never`
help: there is `also`, `no`, `only`

x `24.12.2026` is no date: write e.g. `2026-12-24`

x the key `to` is missing here
help: add `to: ...`
"###);
}

#[test]
fn zones_and_calendars() {
    let text = CONFIG.replace("Europe/Berlin", "Europe/Belrin") + "holidays: DE-TS\napprovers: ../allowed_signers\n";
    insta::assert_snapshot!(spoiled("weiche.yaml", text), @r###"
  x there is no time zone `Europe/Belrin`
   ,-[weiche.yaml:2:11]
 1 | fleet: test
 2 | timezone: Europe/Belrin
   :           ^^^^^^^^^^^^^
 3 | ssh: { user: weiche }
   `----
  help: did you mean `Europe/Berlin`?

  x there is no calendar of holidays `DE-TS`
   ,-[weiche.yaml:4:11]
 3 | ssh: { user: weiche }
 4 | holidays: DE-TS
   :           ^^^^^
 5 | approvers: ../allowed_signers
   `----
  help: did you mean `DE-ST`?

  x `../allowed_signers` is no file below the fleet's directory
   ,-[weiche.yaml:5:12]
 4 | holidays: DE-TS
 5 | approvers: ../allowed_signers
   :            ^^^^^^^^^^^^^^^^^^
   `----
  help: write its path from there, such as `allowed_signers`

3 errors
"###);
    let text = CONFIG.replace("Europe/Berlin", "europe/berlin") + "holidays: NL\n";
    insta::assert_snapshot!(spoiled("weiche.yaml", text), @r###"
  x there is no time zone `europe/berlin`
   ,-[weiche.yaml:2:11]
 1 | fleet: test
 2 | timezone: europe/berlin
   :           ^^^^^^^^^^^^^
 3 | ssh: { user: weiche }
   `----
  help: did you mean `Europe/Berlin`?

  x there is no calendar of holidays `NL`
   ,-[weiche.yaml:4:11]
 3 | ssh: { user: weiche }
 4 | holidays: NL
   :           ^^
   `----
  help: there is `DE-ST`

2 errors
"###);
}

#[test]
fn approvers_that_do_not_exist() {
    let mut texts = good();
    texts.insert("members/alpha.yaml", member("approvers: [ana@kitu.example]"));
    insta::assert_snapshot!(complaint(&texts), @r###"
  x the fleet has no file of approvers
   ,-[members/alpha.yaml:9:13]
 8 |   - { name: pc-1, site: rathaus }
 9 | approvers: [ana@kitu.example]
   :             ^^^^^^^^^^^^^^^^
   `----
  help: add `approvers: allowed_signers` to weiche.yaml, and that file beside it

1 error
"###);
    texts.insert("weiche.yaml", CONFIG.to_owned() + "approvers: allowed_signers\n");
    texts.insert("allowed_signers", SIGNERS.into());
    insta::assert_snapshot!(complaint(&texts), @r###"
  x the file of approvers has no `ana@kitu.example`
   ,-[members/alpha.yaml:9:13]
 8 |   - { name: pc-1, site: rathaus }
 9 | approvers: [ana@kitu.example]
   :             ^^^^^^^^^^^^^^^^
   `----
  help: did you mean `anna@kitu.example`?

1 error
"###);
}

#[test]
fn the_file_of_approvers_is_read() {
    let mut texts = good();
    texts.insert("weiche.yaml", CONFIG.to_owned() + "approvers: people/allowed_signers\n");
    texts.insert("members/alpha.yaml", member("approvers: [anna@kitu.example]"));
    texts.insert("people/allowed_signers", SIGNERS.into());
    let directory = form::Scratch::new("approvers");
    for (name, text) in &texts {
        directory.write(name, text.as_bytes());
    }
    let loaded = load(&directory.0).unwrap_or_else(|failure| panic!("{}", failure.render(false)));
    assert!(loaded.fleet().signers().has("anna@kitu.example"));
    directory.write("weiche.yaml", (CONFIG.to_owned() + "approvers: people/signers\n").as_bytes());
    insta::assert_snapshot!(load(&directory.0).unwrap_err().render(false), @r###"
  x there is no file `people/signers`
   ,-[weiche.yaml:4:12]
 3 | ssh: { user: weiche }
 4 | approvers: people/signers
   :            ^^^^^^^^^^^^^^
   `----
  help: create it in the form of OpenSSH's allowed_signers: a person and their public key on each
        line

1 error
"###);
}
