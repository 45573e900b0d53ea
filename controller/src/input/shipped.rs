//! Playbooks, profiles and their files that come with the binary. A fleet's own of the same name take precedence.

use super::source::Source;

/// Name and text, alphabetical.
type Shipped = (&'static str, &'static str);

static PLAYBOOKS: &[Shipped] = &[
    ("converge.yaml", include_str!("../../../playbooks/converge.yaml")),
    ("copy-swap.yaml", include_str!("../../../playbooks/copy-swap.yaml")),
    ("data-centre-move.yaml", include_str!("../../../playbooks/data-centre-move.yaml")),
    ("server-swap.yaml", include_str!("../../../playbooks/server-swap.yaml")),
    ("town-hall-swap.yaml", include_str!("../../../playbooks/town-hall-swap.yaml")),
];

static PROFILES: &[Shipped] = &[
    ("profiles/base.yaml", include_str!("../../../playbooks/profiles/base.yaml")),
    ("profiles/file-server.yaml", include_str!("../../../playbooks/profiles/file-server.yaml")),
    ("profiles/intranet.yaml", include_str!("../../../playbooks/profiles/intranet.yaml")),
    ("profiles/office-workplace.yaml", include_str!("../../../playbooks/profiles/office-workplace.yaml")),
    ("profiles/server-base.yaml", include_str!("../../../playbooks/profiles/server-base.yaml")),
    ("profiles/service-address.yaml", include_str!("../../../playbooks/profiles/service-address.yaml")),
    ("profiles/service-name.yaml", include_str!("../../../playbooks/profiles/service-name.yaml")),
    ("profiles/support-access.yaml", include_str!("../../../playbooks/profiles/support-access.yaml")),
    ("profiles/swap-follows.yaml", include_str!("../../../playbooks/profiles/swap-follows.yaml")),
    ("profiles/swap-ready.yaml", include_str!("../../../playbooks/profiles/swap-ready.yaml")),
    ("profiles/town-database-alone.yaml", include_str!("../../../playbooks/profiles/town-database-alone.yaml")),
    ("profiles/town-database-follows.yaml", include_str!("../../../playbooks/profiles/town-database-follows.yaml")),
    ("profiles/town-database-leaves.yaml", include_str!("../../../playbooks/profiles/town-database-leaves.yaml")),
    (
        "profiles/town-database-major-alone.yaml",
        include_str!("../../../playbooks/profiles/town-database-major-alone.yaml"),
    ),
    (
        "profiles/town-database-major-follows.yaml",
        include_str!("../../../playbooks/profiles/town-database-major-follows.yaml"),
    ),
    (
        "profiles/town-database-major-leaves.yaml",
        include_str!("../../../playbooks/profiles/town-database-major-leaves.yaml"),
    ),
    (
        "profiles/town-database-major-ready.yaml",
        include_str!("../../../playbooks/profiles/town-database-major-ready.yaml"),
    ),
    (
        "profiles/town-database-major-rests.yaml",
        include_str!("../../../playbooks/profiles/town-database-major-rests.yaml"),
    ),
    (
        "profiles/town-database-major-serves.yaml",
        include_str!("../../../playbooks/profiles/town-database-major-serves.yaml"),
    ),
    ("profiles/town-database-ready.yaml", include_str!("../../../playbooks/profiles/town-database-ready.yaml")),
    ("profiles/town-database-rests.yaml", include_str!("../../../playbooks/profiles/town-database-rests.yaml")),
    ("profiles/town-database-serves.yaml", include_str!("../../../playbooks/profiles/town-database-serves.yaml")),
    ("profiles/town-database.yaml", include_str!("../../../playbooks/profiles/town-database.yaml")),
    ("profiles/town-files-follows.yaml", include_str!("../../../playbooks/profiles/town-files-follows.yaml")),
    ("profiles/town-files-rests.yaml", include_str!("../../../playbooks/profiles/town-files-rests.yaml")),
    ("profiles/town-files-serves.yaml", include_str!("../../../playbooks/profiles/town-files-serves.yaml")),
    ("profiles/town-files.yaml", include_str!("../../../playbooks/profiles/town-files.yaml")),
    ("profiles/town-intranet.yaml", include_str!("../../../playbooks/profiles/town-intranet.yaml")),
    ("profiles/town-print.yaml", include_str!("../../../playbooks/profiles/town-print.yaml")),
    ("profiles/town-server-alone.yaml", include_str!("../../../playbooks/profiles/town-server-alone.yaml")),
    ("profiles/town-server-follows.yaml", include_str!("../../../playbooks/profiles/town-server-follows.yaml")),
    ("profiles/town-server-leaves.yaml", include_str!("../../../playbooks/profiles/town-server-leaves.yaml")),
    ("profiles/town-server-ready.yaml", include_str!("../../../playbooks/profiles/town-server-ready.yaml")),
    ("profiles/town-server-rests.yaml", include_str!("../../../playbooks/profiles/town-server-rests.yaml")),
    ("profiles/town-server-serves.yaml", include_str!("../../../playbooks/profiles/town-server-serves.yaml")),
    ("profiles/town-server.yaml", include_str!("../../../playbooks/profiles/town-server.yaml")),
];

static FILES: &[Shipped] = &[
    ("files/intranet/index.html", include_str!("../../../playbooks/files/intranet/index.html")),
    ("files/intranet/nginx.conf", include_str!("../../../playbooks/files/intranet/nginx.conf")),
    ("files/motd", include_str!("../../../playbooks/files/motd")),
    ("files/samba/smb.conf", include_str!("../../../playbooks/files/samba/smb.conf")),
    ("files/town/index.html", include_str!("../../../playbooks/files/town/index.html")),
    ("files/town/nftables.conf", include_str!("../../../playbooks/files/town/nftables.conf")),
    ("files/town/nginx.conf", include_str!("../../../playbooks/files/town/nginx.conf")),
    ("files/town/queue.service", include_str!("../../../playbooks/files/town/queue.service")),
    ("files/workplace/policies.json", include_str!("../../../playbooks/files/workplace/policies.json")),
];

/// What sources of shipped files are named by, before their path.
pub const PREFIX: &str = "shipped/";

/// The shipped playbooks.
pub fn playbooks() -> Vec<Source> {
    PLAYBOOKS.iter().map(|(name, text)| Source::new(&format!("{PREFIX}{name}"), *text)).collect()
}

/// The shipped profiles.
pub fn profiles() -> Vec<Source> {
    PROFILES.iter().map(|(name, text)| Source::new(&format!("{PREFIX}{name}"), *text)).collect()
}

/// A shipped file, by its path below `files/`.
pub fn file(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(name, _)| name.strip_prefix("files/") == Some(path)).map(|(_, text)| *text)
}
