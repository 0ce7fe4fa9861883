//! What the kernel says of a process.

use anyhow::{Context, Result};

/// Memory and CPU time of a process so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Bytes of memory that are resident.
    pub(crate) resident: u64,
    /// Seconds of CPU time, user and system.
    pub(crate) cpu: f64,
}

impl Usage {
    /// Reads `/proc/<id>/stat` (proc(5): fields 14, 15 and 24).
    pub(crate) fn of(id: u32) -> Result<Self> {
        let path = format!("/proc/{id}/stat");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        // The second field is the program's name in brackets, and may hold anything.
        let (_, rest) = text
            .rsplit_once(')')
            .with_context(|| format!("find the name in {path}"))?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| -> Result<u64> {
            let text = fields
                .get(number - 3)
                .with_context(|| format!("find field {number} of {path}"))?;
            text.parse()
                .with_context(|| format!("read field {number} of {path}"))
        };
        let ticks = field(14)? + field(15)?;
        Ok(Self {
            resident: field(24)? * rustix::param::page_size() as u64,
            cpu: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        })
    }
}
