//! Which package manager a host has, and what `package` asks of either.

use std::collections::BTreeMap;
use std::path::Path;

use super::archive::Version;
use super::conffile::{self, Files};
use super::{Installed, Spec, apt, archive, dnf, rpms};
use crate::facts::package_manager;
use crate::fault::Fault;
use crate::protocol::facts::PackageManager;
use crate::resource::Cx;

/// What installs packages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Manager {
    /// apt-get(8) and dpkg(1).
    Apt,
    /// dnf(8), version 4, and rpm(8).
    Dnf,
}

impl Manager {
    /// The one of this host; apt where there is none, whose missing programs then are the error.
    pub(super) fn of(cx: &mut Cx<'_>) -> Result<Manager, Fault> {
        Ok(match package_manager(cx.host) {
            PackageManager::Dnf => Manager::Dnf,
            PackageManager::None if cx.host.lstat(Path::new("/usr/bin/rpm"))?.is_some() => Manager::Dnf,
            _ => Manager::Apt,
        })
    }

    /// Looks up packages; `marks` also asks which came as dependencies only.
    pub(super) fn query(
        self,
        names: &[String],
        marks: bool,
        cx: &mut Cx<'_>,
    ) -> Result<BTreeMap<String, Installed>, Fault> {
        match self {
            Manager::Apt => apt::query(names, marks, cx),
            Manager::Dnf => dnf::query(names, marks, cx),
        }
    }

    /// Every package of the host.
    pub(super) fn inventory(self, cx: &mut Cx<'_>) -> Result<BTreeMap<String, String>, Fault> {
        match self {
            Manager::Apt => apt::inventory(cx),
            Manager::Dnf => dnf::inventory(cx),
        }
    }

    /// Whether an installed version is the one that a spec names.
    pub(super) fn is_version(self, installed: &str, wanted: &str) -> bool {
        match self {
            Manager::Apt => installed == wanted,
            Manager::Dnf => dnf::is_version(installed, wanted),
        }
    }

    /// What would be done for a spec: each touched package with its new version, `None` for a removal.
    pub(super) fn plan(self, spec: &Spec, cx: &mut Cx<'_>) -> Result<BTreeMap<String, Option<String>>, Fault> {
        match self {
            Manager::Apt => apt::simulate(&apt::request(spec), cx),
            Manager::Dnf => dnf::plan(spec, cx),
        }
    }

    /// What is left of an installed package that is removed.
    pub(super) fn removed(self) -> Installed {
        match self {
            Manager::Apt => Installed::ConfigFiles,
            Manager::Dnf => Installed::Absent,
        }
    }

    /// Reads the configuration files of packages that are there, and what would be laid beside them.
    pub(super) fn config_files(self, names: &[String], cx: &mut Cx<'_>) -> Result<Files, Fault> {
        if names.is_empty() {
            return Ok(Files::new());
        }
        let (paths, beside) = match self {
            // dpkg(1): its own version, the one before it, one that is being unpacked.
            Manager::Apt => (apt::config_files(names, cx)?, [".dpkg-dist", ".dpkg-old", ".dpkg-new"]),
            // rpm: its own version, an edited one that was replaced, one that was nobody's.
            Manager::Dnf => (dnf::config_files(names, cx)?, [".rpmnew", ".rpmsave", ".rpmorig"]),
        };
        conffile::get(&paths, &beside, cx)
    }

    /// Keeps the packages of these installed versions.
    pub(super) fn keep(self, replaced: &[Version], cx: &mut Cx<'_>) -> Result<(), Fault> {
        match self {
            Manager::Apt => archive::keep(replaced, cx),
            Manager::Dnf => rpms::keep(replaced, cx),
        }
    }

    /// Makes exactly these packages be so, from wherever an earlier attempt stopped.
    pub(super) fn make(self, to: &BTreeMap<String, Installed>, cx: &mut Cx<'_>) -> Result<(), Fault> {
        match self {
            Manager::Apt => apt::make(to, cx),
            Manager::Dnf => dnf::make(to, cx),
        }
    }
}
