//! What the probe gives up before it decodes the first byte.
//!
//! # Overview
//! Lance's decoders are known to panic on damaged files; what hostile ones can make of them nobody knows. So the kernel
//! takes from this process what its job does not need. Landlock: every file but the folder of a job that has one
//! (written only by a write test) and what the process asks about itself; TCP; signals to others. Seccomp: the calls
//! that make connections, start programs, look into other processes or change the system. They answer `EPERM`.
//!
//! Both hold for the threads that are started afterwards, so it is done before there are any. A kernel without them is
//! no reason not to measure: the summary says what was missing, and the agent's `doctor` does.

use std::collections::BTreeMap;
use std::path::Path;

use dr_probe_wire::event::Confinement;
use dr_probe_wire::job::{Job, Location};
use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
    path_beneath_rules,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// The newest Landlock that is asked for; an older kernel enforces what it knows.
const LANDLOCK: ABI = ABI::V7;

/// What the process asks about itself and the machine: its memory, processors and their limits.
const OWN: [&str; 5] = [
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
];

/// Calls without which Lance decodes as well.
const REFUSED: [libc::c_long; 36] = [
    // Connections.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_kill,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    // The system, and doors to much of the kernel.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
];

/// Confines this thread and all that it starts to what `job` needs. A write test may also write below `temporary`.
pub fn confine(job: &Job, temporary: Option<&Path>) -> Confinement {
    let mut confinement = Confinement::default();
    match files(job, temporary) {
        Ok(RulesetStatus::FullyEnforced) => confinement.files = true,
        Ok(RulesetStatus::PartiallyEnforced) => {
            confinement.files = true;
            confinement.missing.push(
                "this kernel's Landlock is older and leaves connections or signals to seccomp".to_owned(),
            );
        }
        Ok(RulesetStatus::NotEnforced) => confinement
            .missing
            .push("this kernel has no Landlock (Linux 5.13), or it is switched off (lsm=)".to_owned()),
        Err(error) => confinement.missing.push(format!("Landlock: {error}")),
    }
    match calls() {
        Ok(()) => confinement.calls = true,
        Err(error) => confinement.missing.push(format!("seccomp: {error}")),
    }
    confinement
}

fn files(job: &Job, temporary: Option<&Path>) -> Result<RulesetStatus, landlock::RulesetError> {
    let all = AccessFs::from_all(LANDLOCK) & !AccessFs::Execute;
    let read = AccessFs::from_read(LANDLOCK) & all;
    let (folder, temporary) = match &job.location {
        Location::Tree { .. } => (None, None),
        Location::Directory { path } => (Some(path), temporary.filter(|_| job.write_test)),
    };
    let of_folder = if job.write_test { all } else { read };
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(OWN.map(Path::new), read))?
        .add_rules(path_beneath_rules(folder, of_folder))?
        .add_rules(path_beneath_rules(temporary, all))?
        .restrict_self()?;
    Ok(status.ruleset)
}

fn calls() -> Result<(), seccompiler::Error> {
    let rules: BTreeMap<i64, Vec<_>> = REFUSED.map(|call| (call, Vec::new())).into();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)
}

#[cfg(test)]
mod tests;
